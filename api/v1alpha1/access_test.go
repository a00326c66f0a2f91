package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Of all classes there can be, those are valid that give no more by RBAC than by ABAC, and little to every pod.
func TestClasses(t *testing.T) {
	for abac, a := range Accesses {
		for rbac, r := range Accesses {
			for _, namespace := range []string{"", "a"} {
				c := &Cluster{Spec: Spec{Authorization: Authorization{ServiceAccounts: []ServiceAccountClass{{namespace, a, r}}}}}
				Default(c)
				var errs Errors
				errs.authorization(c.Spec.Authorization)
				want := rbac <= abac && (namespace == "a" || abac <= 1)
				if (len(errs) == 0) != want {
					t.Errorf("namespace %q, abac %s, rbac %s: valid should be %t, got %v", namespace, a, r, want, errs)
				}
			}
		}
	}
}

// The API server's own compiler (k8s.io/apiserver v0.37.2, pkg/authentication/cel) takes and refuses the same, save what is marked.
func TestExpressions(t *testing.T) {
	for expression, want := range map[string]string{ // what it may be for: username, groups, rule
		`claims.sub`:                                     "username groups",
		`claims.a.b`:                                     "username groups",
		`"a:" + claims.sub`:                              "username groups",
		`true ? "a" : claims.b`:                          "username groups",
		`has(claims.a) ? claims.a : []`:                  "username groups",
		`claims[?"a"].orValue("")`:                       "username groups",
		`claims.sub.split("/")[0].lowerAscii()`:          "username groups",
		`claims.sub.find("^[a-z]+")`:                     "username groups",
		`claims.sub.findAll("[a-z]+", 2)`:                "groups",
		`claims.roles.split(",").map(r, "g:" + r)`:       "groups",
		`dyn(claims.groups).map(g, "x:" + g)`:            "groups",
		`[claims.a, claims.b]`:                           "groups",
		`[?claims.?a]`:                                   "groups",
		`claims.groups.flatten()`:                        "groups",
		`claims.a == "b"`:                                "rule",
		`!claims.admin`:                                  "rule",
		`claims.exp - claims.nbf <= 3600`:                "rule",
		`"x" in claims.groups`:                           "rule",
		`sets.contains(claims.groups, ["a"])`:            "rule",
		`claims.all(k, v, k != "a")`:                     "rule",
		`dyn(claims.groups).all(g, g != "a")`:            "rule",
		`claims.?email_verified.orValue(true) == true`:   "rule",
		`claims.groups.map(g, "x:" + g)`:                 "", // a claim is an Any, which is no list until it is made dyn
		`claims.aud.exists(a, a == "x")`:                 "",
		`[claims.a, "b"]`:                                "",
		`"%s".format([claims.a])`:                        "",
		`claims.sub.matches("(")`:                        "",
		`timestamp("2027") < timestamp("2028")`:          "",
		`cel.bind(x, 1, true)`:                           "",
		`user.username`:                                  "",
		`claims.?sub`:                                    "", // the API server takes it, and then no token
		`size(claims.sub)`:                               "", // likewise
		`isURL(claims.a)`:                                "", // the API server takes it
		`claims.?a` + strings.Repeat(".optMap(x, x)", 4): "", // so it does this, after a while
		strings.Repeat("(", maxDepth+1) + "claims.a" + strings.Repeat(")", maxDepth+1): "", // the API server takes it
		`claims.a == "` + strings.Repeat("a", maxExpression):                           "",
		`claims.a == 1` + strings.Repeat(` || claims.b == 1`, 50):                      "rule", // a long one is not a deep one
	} {
		var got []string
		valid := func(what string, o OIDCIssuer) {
			var errs Errors
			errs.claims("o", o)
			if len(errs) == 0 {
				got = append(got, what)
			}
		}
		valid("username", OIDCIssuer{Username: expression})
		valid("groups", OIDCIssuer{Username: "claims.sub", Groups: expression})
		valid("rule", OIDCIssuer{Username: "claims.sub", Rules: []ClaimRule{{expression, "no"}}})
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: is for %q, want %q", expression, got, want)
		}
	}
}

func TestEmailIsVerified(t *testing.T) {
	for _, test := range []struct {
		username, rule string
		valid          bool
	}{
		{`claims.sub`, `true`, true},
		{`claims.email`, `true`, false},
		{`claims.?email.orValue("")`, `true`, false},
		{`claims["email"]`, `true`, false},
		{`claims[?"email"].orValue("")`, `true`, false},
		{`["a"].map(i, i + claims.email)[0]`, `true`, false},
		{`claims.user.email`, `true`, true},
		{`"claims.email"`, `true`, true},
		{`claims.email`, `claims.email_verified == true`, true},
		{`claims.email`, `claims.?email_verified.orValue(false) == true`, true},
		{`claims.email`, `has(claims.email_verified)`, true},
		{`claims.email`, `claims["email_verified"] == true`, false}, // which the API server does not see
		{`claims.email`, `claims.user.email_verified == true`, false},
		{`claims.email`, `claims.emails_verified == true`, false},
		{`claims.email_verified ? claims.email : claims.sub`, `true`, true},
	} {
		var errs Errors
		errs.claims("o", OIDCIssuer{Username: test.username, Rules: []ClaimRule{{test.rule, "no"}}})
		if (len(errs) == 0) != test.valid {
			t.Errorf("%s with %s: valid should be %t, got %v", test.username, test.rule, test.valid, errs)
		}
	}
}

// What is wrong with a token is said without repeating what may be the token.
func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "hunter2hunter2"
	var errs Errors
	errs.staticTokens("t", []StaticToken{{SHA256: secret}})
	errs.issuer("i", fmt.Sprintf("https://me:%s@example.org", secret))
	errs.issuer("i", fmt.Sprintf("http://me:%s@example.org", secret))
	if len(errs) == 0 || slices.ContainsFunc(errs, func(e Error) bool { return strings.Contains(e.Message, secret) }) {
		t.Error(errs)
	}
}

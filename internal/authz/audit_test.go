package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// logged is a line of an audit log; more has fields that begin with a comma.
func logged(verb, uri, more string) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"x","stage":"ResponseComplete","requestURI":%q,"verb":%q,`+
		`"user":{"username":"system:serviceaccount:shop:app","groups":["system:serviceaccounts","system:serviceaccounts:shop","system:authenticated"]},`+
		`"requestReceivedTimestamp":"2026-11-25T01:31:49.123456Z","stageTimestamp":"2026-11-25T01:31:49.130000Z"%s}`, uri, verb, more)
}

const byABAC = `,"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"ABAC: line 12, for group system:serviceaccounts:shop"}`

func readAudit(r io.Reader) (observed []Observed, errs []string) {
	for o, err := range ReadAudit(r, "audit.log", ReasonABAC) {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		observed = append(observed, o)
	}
	return observed, errs
}

func TestReadAudit(t *testing.T) {
	of := func(fields string) string { return `,"objectRef":{` + fields + `,"apiVersion":"v1"}` }
	for line, want := range map[string]string{
		logged("list", "/api/v1/pods?limit=500", of(`"resource":"pods"`)+byABAC):                                                              "list pods",
		logged("get", "/api/v1/namespaces/shop/pods/a/log", of(`"resource":"pods","subresource":"log","namespace":"shop","name":"a"`)+byABAC): `get pods/log "a" in shop`,
		logged("watch", "/apis/apps/v1/deployments?watch=1", of(`"resource":"deployments","apiGroup":"apps"`)+byABAC):                         "watch deployments.apps",
		logged("get", "/api/v1/namespaces/shop", of(`"resource":"namespaces","namespace":"shop","name":"shop"`)+byABAC):                       `get namespaces "shop" in shop`,
		logged("get", "/metrics?x=1", byABAC): "get /metrics",
		logged("post", "/a%20b?c", byABAC):    "post /a b",
		logged("create", "/api/v1/namespaces/shop/configmaps", of(`"resource":"configmaps","namespace":"shop","name":"a"`)+byABAC):                           "create configmaps in shop",
		logged("create", "/api/v1/namespaces/shop/pods/a/exec?command=x", of(`"resource":"pods","subresource":"exec","namespace":"shop","name":"a"`)+byABAC): `create pods/exec "a" in shop`,
		// The object that was sent says it is in a namespace, but is of a kind that is in none.
		logged("update", "/apis/x/v1/things/a", of(`"resource":"things","apiGroup":"x","namespace":"shop","name":"a"`)+byABAC): `update things.x "a"`,
	} {
		observed, errs := readAudit(strings.NewReader(line + "\n"))
		if len(observed) != 1 || len(errs) > 0 {
			t.Errorf("%s: %v %q", line, observed, errs)
			continue
		}
		o := observed[0]
		who := Subject{"system:serviceaccount:shop:app", []string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}}
		if got := strings.TrimPrefix(o.String(), who.String()+": "); got != want || !reflect.DeepEqual(o.Subject(), who) {
			t.Errorf("%q by %v, want %q by %v", got, o.Subject(), want, who)
		}
		if !o.Allowed || o.Reason != "ABAC: line 12, for group system:serviceaccounts:shop" || !o.Time.Equal(time.Date(2026, 11, 25, 1, 31, 49, 123456000, time.UTC)) {
			t.Errorf("%s: %+v", line, o)
		}
	}
}

func TestReadAuditImpersonated(t *testing.T) {
	observed, _ := readAudit(strings.NewReader(logged("get", "/x", `,"impersonatedUser":{"username":"bob","groups":["dev"]}`+byABAC)))
	if len(observed) != 1 || observed[0].User != "bob" || !reflect.DeepEqual(observed[0].Groups, []string{"dev"}) {
		t.Errorf("%+v", observed)
	}
}

func TestReadAuditLines(t *testing.T) {
	good := logged("get", "/x", byABAC)
	rbac := strings.Replace(good, "ABAC: line", "RBAC: allowed by", 1)
	refused := strings.Replace(good, `"allow"`, `"forbid"`, 1)
	pretends := logged("get", "/x", strings.Replace(byABAC, "ABAC: line", "RBAC:", 1)+`,"userAgent":"ABAC: "`)
	for name, c := range map[string]struct {
		text     string
		observed int
		errs     []string
	}{
		"nothing":               {"", 0, nil},
		"whole":                 {good + "\n\n" + good + "\r\n", 2, nil},
		"by RBAC":               {rbac + "\n", 0, nil},
		"says so elsewhere":     {pretends + "\n", 1, nil}, // its reason tells
		"refused":               {refused + "\n", 1, nil},
		"received only":         {logged("get", "/x", "") + "\n", 0, nil},
		"last line without end": {good + "\n" + good, 2, nil},
		"last line cut":         {good + "\n" + good[:len(good)-20], 1, nil},
		"last line cut early":   {good + "\n{", 1, nil},
		"bad lines":             {"x\n" + good + "\n" + good[:len(good)/2] + "\n" + good + "\n", 2, []string{"audit.log:1: is not an Event of audit.k8s.io/v1", "audit.log:3: is not an Event of audit.k8s.io/v1"}},
		"written over":          {good[:len(good)/2] + good + "\n" + good + "\n", 1, []string{"audit.log:1: is not JSON: invalid character 'k' after array element"}},
		"something else":        {strings.Replace(good, `"Event"`, `"Policy"`, 1) + "\n", 0, []string{"audit.log:1: is a Policy of audit.k8s.io/v1, not an Event of audit.k8s.io/v1"}},
		"long":                  {logged("get", "/x", byABAC+`,"responseObject":"`+strings.Repeat("x", 1<<20)+`"`) + "\n" + good + "\n", 2, nil},
	} {
		observed, errs := readAudit(strings.NewReader(c.text))
		if len(observed) != c.observed || !reflect.DeepEqual(errs, c.errs) {
			t.Errorf("%s: %d requests, errors %q; want %d, %q", name, len(observed), errs, c.observed, c.errs)
		}
	}
	observed, errs := readAudit(io.MultiReader(strings.NewReader(good+"\n"), iotest.ErrReader(errors.New("disk on fire"))))
	if len(observed) != 1 || len(errs) != 1 || errs[0] != "audit.log:2: disk on fire" {
		t.Errorf("a broken file: %v %q", observed, errs)
	}
	for _, err := range ReadAudit(strings.NewReader("x\n"+good+"\n"), "", ReasonABAC) { // may be left at an error
		if err == nil {
			t.Error("the first line is no error")
		}
		break
	}
}

// However a log is cut, what is before the cut is read, and a cut is no error.
func TestReadAuditCut(t *testing.T) {
	log := strings.Repeat(logged("get", "/x", byABAC)+"\n", 3)
	rapid.Check(t, func(t *rapid.T) {
		cut := rapid.IntRange(0, len(log)).Draw(t, "cut")
		observed, errs := readAudit(iotest.HalfReader(strings.NewReader(log[:cut])))
		whole := strings.Count(log[:cut], "\n")
		if len(errs) > 0 || len(observed) != whole && len(observed) != whole+1 {
			t.Fatalf("%d requests of %d lines, %q", len(observed), whole, errs)
		}
	})
}

func FuzzReadAudit(f *testing.F) {
	f.Add([]byte(logged("get", "/x", byABAC) + "\n" + logged("list", "/api/v1/pods", `,"objectRef":{"resource":"pods"}`+byABAC)))
	f.Fuzz(func(t *testing.T, text []byte) {
		observed, _ := readAudit(strings.NewReader(string(text)))
		for _, o := range observed {
			if _, err := json.Marshal(o); err != nil {
				t.Error(err)
			}
		}
	})
}

// One event in a hundred is ABAC's.
func BenchmarkReadAudit(b *testing.B) {
	of := `,"objectRef":{"resource":"pods","namespace":"shop","name":"web-5d8f9c7b6-abcde","apiVersion":"v1"},"sourceIPs":["10.244.1.17"],` +
		`"userAgent":"app/v1.2.3 (linux/amd64) kubernetes/abcdef","responseStatus":{"metadata":{},"code":200}`
	other := logged("get", "/api/v1/namespaces/shop/pods/web-5d8f9c7b6-abcde", of+strings.Replace(byABAC, "ABAC: line 12, for group",
		`RBAC: allowed by RoleBinding \"reader/shop\" of Role \"reader\" to Group`, 1)) + "\n"
	abac := logged("get", "/api/v1/namespaces/shop/pods/web-5d8f9c7b6-abcde", of+byABAC) + "\n"
	for name, log := range map[string]string{
		"OneInHundred": strings.Repeat(strings.Repeat(other, 99)+abac, 1000),
		"All":          strings.Repeat(abac, 10_000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range ReadAudit(strings.NewReader(log), "", ReasonABAC) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n == 0 {
					b.Fatal("found nothing")
				}
			}
		})
	}
}

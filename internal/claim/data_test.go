package claim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestReadable(t *testing.T) {
	const word = "XYZZYPLUGH"
	for name, c := range map[string]struct {
		raw  string
		want Expectation
		says string
	}{
		"sealed":                            {sealed + "\x0a\x20\xff\x00", Refused, "sealed: "},
		"in clear":                          {"k8s\x00\n\x0c\n\x02v1\x12\x06Secret" + word, Allowed, "in clear"},
		"in clear behind a seal":            {sealed + word, Allowed, "in clear"},
		"not sealed, and without the word":  {"k8s\x00\n", Allowed, "not sealed"},
		"sealed by another provider":        {"k8s:enc:aescbc:v1:key1:\xff", Allowed, "not sealed"},
		"sealed by a plug-in of other name": {"k8s:enc:kms:v2:other:\xff", Allowed, "not sealed"},
		"the seal not at the beginning":     {"x" + sealed, Allowed, "not sealed"},
		"empty":                             {"", Allowed, "not sealed"},
	} {
		if e := readable("read", []byte(c.raw), word); e.Want != Refused || e.Got != c.want || !strings.Contains(e.Answer, c.says) {
			t.Errorf("%s: got %s (%s), want %s", name, e.Got, e.Answer, c.want)
		}
	}
}

func auditLine(verb, user, resource, name, more string) string {
	return fmt.Sprintf(`{"kind":"Event","level":"Metadata","verb":%q,"user":{"username":%q},"sourceIPs":["10.90.0.1"],`+
		`"objectRef":{"resource":%q,"namespace":"default","name":%q},"responseStatus":{"code":201}%s}`+"\n", verb, user, resource, name, more)
}

func TestEventsOf(t *testing.T) {
	log := auditLine("create", "admin", "secrets", "planted", "") + auditLine("get", "admin", "secrets", "other", "") +
		"planted, but no JSON\n" +
		auditLine("get", "admin", "secrets", "planted", `,"impersonatedUser":{"username":"ashlar:nobody"}`) +
		strings.TrimSuffix(auditLine("delete", "admin", "secrets", "planted", ""), "}\n") // the last line is being written
	events := eventsOf([]byte(log), "planted")
	if len(events) != 2 {
		t.Fatalf("found %d events, want 2: %+v", len(events), events)
	}
	e := events[1]
	if e.Verb != "get" || e.User.Username != "admin" || e.As == nil || e.As.Username != "ashlar:nobody" || !slices.Equal(e.SourceIPs, []string{"10.90.0.1"}) ||
		e.ObjectRef.Resource != "secrets" || e.ObjectRef.Namespace != "default" || e.ObjectRef.Name != "planted" || e.Status.Code != 201 || events[0].As != nil {
		t.Errorf("got %+v", events)
	}
}

// TestEventsOfProperty: among any other lines, exactly those about the object are found.
func TestEventsOfProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.StringMatching(`[^\n]*`).Filter(func(s string) bool { return !strings.Contains(s, "planted") })
		var log strings.Builder
		want := 0
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				log.WriteString(auditLine("create", "admin", "secrets", "planted", ""))
				want++
			case 1:
				log.WriteString(auditLine("create", "admin", "secrets", noise.Draw(t, "name"), ""))
			default:
				log.WriteString(noise.Draw(t, "noise") + "\n")
			}
		}
		if got := eventsOf([]byte(log.String()), "planted"); len(got) != want {
			t.Fatalf("found %d, want %d", len(got), want)
		}
	})
}

func TestFound(t *testing.T) {
	events := eventsOf([]byte(auditLine("create", "admin", "secrets", "planted", "")), "planted")
	verb := func(v string) func(event) bool { return func(e event) bool { return e.Verb == v } }
	if e := found(events, "create", verb("create")); !e.Held() || e.Want != Allowed || e.Answer != "create by admin from 10.90.0.1" {
		t.Errorf("got %+v", e)
	}
	if e := found(events, "delete", verb("delete")); e.Held() || e.Got != Refused {
		t.Errorf("found what is not there: %+v", e)
	}
	if e := found(nil, "create", verb("create")); e.Held() {
		t.Errorf("found something in an empty log: %+v", e)
	}
}

func TestBodies(t *testing.T) {
	p := planted{namespace: "default", name: "planted", word: "XYZZY"}
	request, response := `,"requestObject":{"kind":"Secret"}`, `,"responseObject":{"kind":"Secret"}`
	for name, c := range map[string]struct {
		log  string
		want Expectation
	}{
		"an empty log":               {"", Refused},
		"who, what and where":        {auditLine("create", "admin", "secrets", "planted", ""), Refused},
		"what was asked":             {auditLine("create", "admin", "secrets", "planted", request), Allowed},
		"what was answered":          {auditLine("get", "admin", "secrets", "planted", response), Allowed},
		"both, after other lines":    {auditLine("get", "a", "pods", "b", "") + auditLine("create", "admin", "secrets", "planted", request+response), Allowed},
		"the body of another kind":   {auditLine("create", "admin", "pods", "planted", request), Refused},
		"the body of another object": {auditLine("create", "admin", "secrets", "other", request), Refused},
		"the answer to a deletion":   {auditLine("delete", "admin", "secrets", "planted", `,"responseObject":{"kind":"Status"}`), Refused},
	} {
		if e := bodies([]byte(c.log), p); e.Want != Refused || e.Got != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, e.Got, e.Answer, c.want)
		}
	}
}

package authz

import (
	"bytes"
	"strings"
	"testing"
)

// line is an ABAC line with this spec.
func line(spec string) string {
	return `{"apiVersion":"` + abacVersion + `","kind":"Policy","spec":` + spec + "}"
}

func TestReadABACErrors(t *testing.T) {
	good := line(`{"user":"alice","namespace":"*","resource":"*","apiGroup":"*"}`)
	for name, c := range map[string]struct{ text, want string }{
		"v0":            {good + "\n\n" + `{"user":"alice"}`, "policy:3: is in the unversioned format"},
		"v0, versioned": {`{"apiVersion":"abac.authorization.kubernetes.io/v0","kind":"Policy"}`, "policy:1: is in the unversioned format"},
		"other kind":    {`{"apiVersion":"v1","kind":"Pod"}`, "policy:1: is a Pod of v1"},
		"unknown field": {"# one\n" + line(`{"usr":"alice"}`), `policy:2: unknown field "spec.usr"`},
		"case":          {line(`{"User":"alice"}`), `policy:1: unknown field "spec.User"`},
		"twice":         {line(`{"user":"alice","user":"bob"}`), `policy:1: duplicate field "spec.user"`},
		"type":          {line(`{"readonly":"yes"}`), "policy:1: json: cannot unmarshal string"},
		"no JSON":       {"user: alice", "policy:1: is not a JSON object"},
		"two on a line": {good + good, "policy:1: is not a JSON object"},
		"long":          {good + "\n#" + strings.Repeat("x", 1<<16), "policy:2: is longer than 65536 bytes"},
		"all of them":   {"x\n" + good + "\ny", "policy:3: is not a JSON object"},
	} {
		if _, err := ReadABAC([]byte(c.text), "policy"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestABACWarnings(t *testing.T) {
	for spec, want := range map[string]string{
		`{"resource":"*"}`: "neither user nor group", `{"user":"*","group":"dev","resource":"*"}`: "not only for group dev",
		`{"group":"*","user":"alice","resource":"*"}`: "not only for user alice", `{"user":"alice"}`: "neither resource nor nonResourcePath",
	} {
		p, err := ReadABAC([]byte("\n"+line(spec)), "policy")
		if err != nil || len(p.Warnings) != 1 || !strings.HasPrefix(p.Warnings[0], "line 2: ") || !strings.Contains(p.Warnings[0], want) {
			t.Errorf("%s: %v %v, want %q", spec, p, err, want)
		}
	}
}

const roles = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: one, labels: {aggregate: "yes"}}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
# nothing here
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
aggregationRule:
  clusterRoleSelectors: [{matchLabels: {aggregate: "yes"}}]
---
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: dev, namespace: a}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
  subjects: [{kind: ServiceAccount, name: x}, {kind: Group, name: dev, apiGroup: rbac.authorization.k8s.io}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRoleBinding
  metadata: {name: dangling}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: gone}
  subjects: []
`

func TestReadRBAC(t *testing.T) {
	o, err := ReadRBAC([]byte(roles), "roles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], `"gone" is not there`) {
		t.Errorf("warnings %q", p.Warnings)
	}
	q := Request{User: "system:serviceaccount:a:x", Verb: "get", ResourceRequest: true, Resource: "pods", Namespace: "a"}
	if ok, why := Allowed(p, q); !ok || why != `RoleBinding "dev" in a of ClusterRole "all", for user system:serviceaccount:a:x` {
		t.Errorf("%v: %t, %s", q, ok, why)
	}
	q.Namespace = "b"
	if ok, why := Allowed(p, q); ok {
		t.Errorf("%v: allowed by %s", q, why)
	}
}

func TestReadRBACErrors(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown kind":     {"kind: RoleBinding", "kind: Pod", "roles.yaml:19: document 4: kind: \"Pod\""},
		"unknown field":    {"resources: [pods]", "resource: [pods]", "roles.yaml:5: document 1: rules[0].resource: is not a field"},
		"type":             {"verbs: [get]", "verbs: get", "roles.yaml:5: document 1: rules[0].verbs: must not be text"},
		"no verbs":         {"verbs: [get]", "verbs: []", "roles.yaml:5: document 1: rules[0]: has no verbs"},
		"no namespace":     {"name: dev, namespace: a", "name: dev", "roles.yaml:20: document 4: metadata.namespace: is missing"},
		"subject":          {"kind: Group", "kind: Grp", `roles.yaml:22: document 4: subjects[1].kind: is "Grp"`},
		"role of cluster":  {"kind: ClusterRole, name: gone", "kind: Role, name: gone", "roles.yaml:26: document 4: roleRef.kind: is \"Role\""},
		"twice":            {"{name: all}", "{name: one}", "roles.yaml:11: document 3: metadata: ClusterRole /one is already in line 1"},
		"duplicate key":    {"metadata: {name: all}", "metadata: {name: all}\nkind: Role", "already defined"},
		"no YAML":          {"rules:\n", "rules: [\n", "is not YAML"},
		"selector":         {`{aggregate: "yes"}}]`, `{aggregate: "no!"}}]`, "roles.yaml:13: document 3: aggregationRule.clusterRoleSelectors[0]"},
		"paths and kinds":  {"verbs: [get]", "verbs: [get], nonResourceURLs: [/x]", "has both resources and nonResourceURLs"},
		"a list's key":     {"subjects: []", "subjects:\n  - {kind: User, name: x}\n  subject:\n  - x", "roles.yaml:29: document 4: subject: is not a field"},
		"list of a scalar": {"items:\n", "items: 3\nitem:\n", "items: must be a list"},
	} {
		text := strings.Replace(roles, c.old, c.new, 1)
		if _, err := ReadRBAC([]byte(text), "roles.yaml"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", name, err, c.want)
		}
	}
	if _, err := ReadRBAC(make([]byte, maxManifests+1), "big"); err == nil || !strings.Contains(err.Error(), "are not read") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestAggregateIsTransitive(t *testing.T) {
	top := `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: top}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {level: "2"}}]}
rules: [{apiGroups: [""], resources: ["pods/*"], verbs: [get]}]
---
`
	o, err := ReadRBAC([]byte(top+strings.Replace(roles, "name: all}", `name: all, labels: {level: "2"}}`, 1)), "roles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, warnings, err := aggregate(o.ClusterRoles)
	if err != nil || len(rules[0]) != 1 || rules[0][0].Resources[0] != "pods" {
		t.Errorf("top has %v, %v", rules[0], err)
	}
	if all := strings.Join(warnings, "\n"); !strings.Contains(all, "a cluster overwrites them") || !strings.Contains(all, "is no wildcard") {
		t.Errorf("warnings %q", warnings)
	}
}

// Whatever is read can be compared, and does not differ from itself.
func checkPolicy(t *testing.T, p *Policy) {
	c := Compare(p, p)
	if len(c.Widened)+len(c.Narrowed) > 0 {
		t.Errorf("differs from itself: %+v", c)
	}
	for _, d := range c.Equal {
		if ok, _ := Allowed(p, d.Witness); !ok {
			t.Errorf("%v is not allowed", d.Witness)
		}
	}
}

func FuzzReadABAC(f *testing.F) {
	f.Add([]byte(line(`{"user":"alice","group":"dev","readonly":true,"namespace":"a","resource":"pods","apiGroup":"*","nonResourcePath":"/a/*"}`)))
	f.Add([]byte("# comment\n\n" + line(`{"group":"*","namespace":"*","resource":"*","apiGroup":"*"}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ReadABAC(text, "f"); err == nil && bytes.Count(text, []byte("\n")) < 20 {
			checkPolicy(t, p)
		}
	})
}

func FuzzReadRBAC(f *testing.F) {
	f.Add([]byte(roles))
	f.Add([]byte(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleList","items":[{"metadata":{"name":"x","namespace":"y"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := ReadRBAC(text, "f")
		if err != nil {
			return
		}
		p, err := o.Policy()
		if err != nil {
			t.Fatalf("read, but %v", err)
		}
		if len(p.Grants) < 20 {
			checkPolicy(t, p)
		}
	})
}

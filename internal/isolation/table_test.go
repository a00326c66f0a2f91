package isolation

import (
	"reflect"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// The file's names of controls are those of this package.
func TestControlsOfTheFile(t *testing.T) {
	var names []string
	for _, k := range Controls() {
		names = append(names, k.Name)
	}
	if !slices.Equal(names, v1alpha1.Controls) {
		t.Errorf("controls: %q, in the file %q", names, v1alpha1.Controls)
	}
}

// The Pod Security level is the strictest that lets all of a class pass.
func TestLevel(t *testing.T) {
	for name, c := range map[string]struct {
		class v1alpha1.PodClass
		want  string
	}{
		"nothing":              {v1alpha1.PodClass{}, Restricted},
		"stricter":             {v1alpha1.PodClass{ReadOnlyRoot: true, RunAsUser: []v1alpha1.IDRange{{From: 1, To: 2}}}, Restricted},
		"its own":              {v1alpha1.PodClass{Capabilities: []string{"NET_BIND_SERVICE"}, SELinux: []v1alpha1.SELinuxOptions{{Type: "container_init_t"}}}, Restricted},
		"of restricted":        {v1alpha1.PodClass{Relax: []string{NonRoot}}, Baseline},
		"root":                 {v1alpha1.PodClass{RunAsUser: []v1alpha1.IDRange{{To: 5}}}, Baseline},
		"chown":                {v1alpha1.PodClass{Capabilities: []string{"CHOWN"}}, Baseline},
		"of both":              {v1alpha1.PodClass{Relax: []string{Seccomp}}, Privileged},
		"admin":                {v1alpha1.PodClass{Capabilities: []string{"NET_ADMIN"}}, Privileged},
		"unconfined":           {v1alpha1.PodClass{Seccomp: []string{"Unconfined"}}, Privileged},
		"spc_t":                {v1alpha1.PodClass{SELinux: []v1alpha1.SELinuxOptions{{Type: "spc_t"}}}, Privileged},
		"ports":                {v1alpha1.PodClass{HostPorts: []v1alpha1.PortRange{{From: 1, To: 1}}}, Privileged},
		"paths":                {v1alpha1.PodClass{HostPaths: []v1alpha1.HostPath{{Prefix: "/a", ReadOnly: true}}}, Privileged},
		"baseline and nothing": {v1alpha1.PodClass{Standard: "baseline"}, Baseline},
	} {
		c.class.Name = "own"
		class, ok := Find(Classes(v1alpha1.Isolation{Classes: []v1alpha1.PodClass{c.class}}), "own")
		if got := class.Level(); !ok || got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Who may use what: those of the file once, those who were let by hand beside them.
func TestRows(t *testing.T) {
	i := own()
	i.Grants = []v1alpha1.ClassGrant{{Class: "router", Namespaces: []string{"net"}, Groups: []string{"ops"}, ServiceAccounts: []string{"*", "bgp"}}}
	placed := Bindings(i, "net", nil)
	hand := *placed[0].DeepCopy()
	hand.Name = "by-hand"
	hand.Subjects = hand.Subjects[:1]
	all := rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "all"}, RoleRef: hand.RoleRef, Subjects: []rbacv1.Subject{{Kind: "User", Name: "eve"}}}
	rows := Rows(i, append(placed, hand), []rbacv1.ClusterRoleBinding{all})
	row := rows[slices.IndexFunc(rows, func(r Row) bool { return r.Class == "router" })]
	want := []Use{
		{"net", []string{"Group ops", "Group system:serviceaccounts:net", "ServiceAccount net/bgp"}, "spec.isolation.grants"},
		{"net", []string{"Group ops"}, "RoleBinding by-hand"},
		{"", []string{"User eve"}, "ClusterRoleBinding all"},
	}
	if !reflect.DeepEqual(row.Uses, want) {
		t.Errorf("uses: %+v\nwant %+v", row.Uses, want)
	}
	for control, want := range map[string]string{Capabilities: "baseline but NET_ADMIN, NET_RAW", HostNamespaces: "baseline but network", HostPorts: "",
		SELinux: "baseline but ::spc_t:, system_u:::s0:c1,c2", NonRoot: "", Seccomp: "baseline but Unconfined"} {
		if row.Controls[control] != want {
			t.Errorf("%s: %q, want %q", control, row.Controls[control], want)
		}
	}
	if got := rows[3].Controls[NonRootUser]; got != "only 0, 1000-1999" {
		t.Errorf("users of %s: %q", rows[3].Class, got)
	}
}

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/claim"
)

// TestAuthz compares the live cluster with what it was: a binding is found, and the API agrees about the witness.
func TestAuthz(t *testing.T) {
	before := filepath.Join(t.TempDir(), "before.yaml")
	objects := kubectl(t, "get", "clusterroles,clusterrolebindings,roles,rolebindings", "--all-namespaces", "-o", "yaml")
	if err := os.WriteFile(before, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := try("-f", file, "authz", "diff", before, "live"); code != 0 || !strings.Contains(out, "0 widened, 0 narrowed") {
		t.Errorf("unchanged: exit %d\n%s", code, out)
	}
	t.Cleanup(func() { kubectl(t, "delete", "clusterrolebinding", "widened", "--ignore-not-found") })
	kubectl(t, "create", "clusterrolebinding", "widened", "--clusterrole=edit", "--user=mallory")

	out, code := try("-f", file, "authz", "diff", before, "live", "-o", "json")
	var c authz.Comparison
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != 2 || len(c.Widened) == 0 || len(c.Narrowed) > 0 {
		t.Fatalf("widened: exit %d, %v\n%s", code, err, out)
	}
	client, err := kubernetes.NewForConfig(target(t).Admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.Widened {
		got, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: claim.Review(d.Witness)}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Status.Allowed {
			t.Errorf("the API refuses the witness %s", d.Witness)
		}
	}
	if out := ashlar(t, "authz", "can", "mallory"); !strings.Contains(out, "secrets") {
		t.Errorf("what mallory may do:\n%s", out)
	}
	if out := ashlar(t, "authz", "who", "create", "pods/exec"); !strings.Contains(out, "mallory") || !strings.Contains(out, "ashlar:admins") {
		t.Errorf("who may open a shell:\n%s", out)
	}
	if out := ashlar(t, "authz", "can", "default/default"); strings.Contains(out, "pods") {
		t.Errorf("what a default ServiceAccount may do:\n%s", out)
	}
}

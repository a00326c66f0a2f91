package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
)

// TestRestoreBeforeRotation restores what was backed up before CAs and keys were replaced: what was dropped since is trusted by
// nobody, neither is what was lost with the newer Vault, and the cluster is as its file says.
func TestRestoreBeforeRotation(t *testing.T) {
	if !slow {
		t.Skip("minutes: `make test-slow` has them; TestDisaster does it with one CA")
	}
	dir := t.TempDir()
	d := disaster{dir, filepath.Join(dir, "backup"), filepath.Join(dir, "key")}
	kubectl(t, "create", "configmap", "before", "--from-literal=said=here")
	kubectl(t, "create", "secret", "generic", "before", "--from-literal=said=sealed")
	userSet(t, "alice")
	t.Cleanup(func() {
		kubectl(t, "delete", "configmap,secret", "before")
		ashlar(t, "user", "remove", "alice")
	})
	dropped := holdingsOf(t)
	ashlar(t, "backup", d.backup, "--identity", d.key)
	revoked := revokeOne(t)
	if out, code := tryFor(15*time.Minute, "-f", file, "pki", "rotate", rotation.All, "--now"); code != 0 {
		t.Fatalf("rotate all: exit %d\n%s", code, out)
	}
	d.refused(t, "restore Vault with it", d.backup, "--identity", d.key, "--only", "etcd", "--replace")
	lost := holdingsOf(t)
	kubectl(t, "create", "configmap", "after")

	out := d.restore(t, "--replace")
	for _, told := range []string{"CA kubernetes was replaced: done again", "CA vault was replaced: done again", "CA front-proxy was replaced: done again",
		"CA ssh-user was replaced: done again", "CA ssh-host was replaced: done again",
		"the key of ServiceAccount tokens was replaced: done again", revoked + " of CA kubernetes was revoked: done again"} {
		if !strings.Contains(out, told) {
			t.Errorf("it does not say %q", told)
		}
	}
	for ca, root := range target(t).Desired.CAs {
		if root == dropped.of.Desired.CAs[ca] && lost.of.Desired.CAs[ca] != root {
			t.Errorf("CA %s is the one that was dropped", ca)
		}
	}
	for _, was := range []*unit.SSH{dropped.of.Desired.SSH, lost.of.Desired.SSH} {
		if now := target(t).Desired.SSH; now.UserCA == was.UserCA || now.HostCA == was.HostCA {
			t.Error("a CA of SSH is one that was dropped, or that was lost")
		}
	}
	dropped.areOfNoUse(t, "dropped")
	lost.areOfNoUse(t, "lost")
	d.holds(t)

	// The journal came back with Vault: a rotation goes on from there as ever.
	ashlar(t, "pki", "rotate", string(rotation.Kubernetes), "--now")
	d.holds(t)
}

// holdings are what somebody copied off the cluster at some time: a certificate for each plane, and a pod's token.
type holdings struct {
	of    *claim.Target
	held  []held
	token string
}

func holdingsOf(t *testing.T) holdings {
	t.Helper()
	h := holdings{of: target(t)}
	for _, p := range planesOf(h.of.Desired) {
		one := hold(t, h.of, p.from, p.profile)
		if err := one.enters(t.Context(), h.of, p, true); err != nil {
			t.Fatalf("%s/%s at %s:%d: %v", p.ca, p.profile.Name, p.machine.Name, p.port, err)
		}
		h.held = append(h.held, one)
	}
	client, err := kubernetes.NewForConfig(h.of.Admin)
	if err != nil {
		t.Fatal(err)
	}
	hour := int64(3600)
	token, err := client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.token = token.Status.Token
	return h
}

// areOfNoUse: where the CA is another one by now, nobody takes what was held of it, or shows what it signed.
func (h holdings) areOfNoUse(t *testing.T, what string) {
	t.Helper()
	now := target(t)
	for i, p := range planesOf(now.Desired) {
		if h.of.Desired.CAs[p.ca] == now.Desired.CAs[p.ca] {
			continue
		}
		name := fmt.Sprintf("%s/%s at %s:%d", p.ca, p.profile.Name, p.machine.Name, p.port)
		if h.held[i].enters(t.Context(), now, p, false) == nil {
			t.Errorf("%s takes a certificate of the CA that was %s", name, what)
		}
		stranger := held{roots: h.held[i].roots, pair: hold(t, now, p.from, p.profile).pair}
		if stranger.enters(t.Context(), now, p, true) == nil {
			t.Errorf("%s shows a certificate of the CA that was %s", name, what)
		}
	}
	config := rest.AnonymousClientConfig(now.Admin)
	config.BearerToken = h.token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("a token by the key that was %s: %v", what, err)
	}
}

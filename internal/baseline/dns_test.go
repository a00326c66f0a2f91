package baseline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"ashlar.dev/ashlar/internal/testserver"
)

// The Corefile, in the real CoreDNS, finds Services and knows of nothing else.
func TestCoreDNSAnswers(t *testing.T) {
	server := testserver.StartAPI(t, nil)
	port, ready, health := testserver.Port(t), testserver.Port(t), testserver.Port(t)
	file := filepath.Join(t.TempDir(), "Corefile")
	testserver.Write(t, file, strings.NewReplacer(
		":53 ", fmt.Sprintf(":%d ", port),
		"ready\n", fmt.Sprintf("ready 127.0.0.1:%d\n", ready),
		"health {", fmt.Sprintf("health 127.0.0.1:%d {", health),
		"pods disabled", "pods disabled\n kubeconfig "+testserver.Kubeconfig(t, server.Admin)+" t",
	).Replace(corefile(t, input())))
	start := time.Now()
	testserver.Run(t, nil, "coredns", "-conf", file)
	testserver.Eventually(t, "ready CoreDNS", func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/ready", ready))
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	// It says so some milliseconds before it listens.
	testserver.Eventually(t, "port of CoreDNS", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	t.Logf("CoreDNS ready %s after its start", time.Since(start))

	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := resolver.LookupNetIP(ctx, "ip4", "kubernetes.default.svc.cluster.local.")
	if err != nil || len(got) != 1 || got[0] != netip.MustParseAddr("10.96.0.1") {
		t.Errorf("the API's Service: %v, %v", got, err)
	}
	if names, err := resolver.LookupAddr(ctx, "10.96.0.1"); err != nil || len(names) != 1 || names[0] != "kubernetes.default.svc.cluster.local." {
		t.Errorf("and back: %v, %v", names, err)
	}
	for _, name := range []string{"nothing.default.svc.cluster.local.", "example.com."} {
		asked := time.Now()
		_, err := resolver.LookupNetIP(ctx, "ip4", name)
		var answer *net.DNSError
		if !errors.As(err, &answer) || !answer.IsNotFound || time.Since(asked) > time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(asked))
		}
	}
}

func corefile(t *testing.T, in Input) string {
	t.Helper()
	for _, o := range objects(t, in) {
		if o.GetKind() == "ConfigMap" {
			text, _, _ := unstructured.NestedString(o.Object, "data", "Corefile")
			return text
		}
	}
	t.Fatal("no Corefile")
	return ""
}

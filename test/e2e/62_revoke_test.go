package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// thief goes on using something stolen, from somewhere, until it is of no use.
type thief struct {
	name string
	try  func(context.Context) error // nil: it was of use
}

// thieves watch how long what they have stolen is of use after began, while f is done; none may be so for longer than is promised.
func thieves(t *testing.T, all []thief, f func()) {
	t.Helper()
	for _, th := range all {
		eventually(t, 30*time.Second, func() error { return th.try(t.Context()) }) // a new machine's first request may be early
	}
	began, done := time.Now(), make(chan string, len(all))
	for _, th := range all {
		go func() {
			for ctx := t.Context(); ; {
				err := th.try(ctx)
				took := time.Since(began)
				switch {
				case err != nil:
					done <- fmt.Sprintf("%s: refused after %.1f s: %v", th.name, took.Seconds(), err)
					return
				case took > 3*claim.RefusedWithin:
					done <- ""
					return
				}
				time.Sleep(50 * time.Millisecond) // between two tries
			}
		}()
	}
	f()
	for range all {
		said := <-done
		t.Log(said)
		var seconds float64
		if m := regexp.MustCompile(`after ([0-9.]+) s`).FindStringSubmatch(said); m != nil {
			_, _ = fmt.Sscanf(m[1], "%g", &seconds)
		}
		if said == "" || seconds > claim.RefusedWithin.Seconds() {
			t.Errorf("something stolen is of use for more than %s: %q", claim.RefusedWithin, said)
		}
	}
}

// loot is what there is to steal on a worker: its certificates at the API and at the overlay's etcd, its Vault token, and a watch
// that is open already.
func loot(t *testing.T, target *claim.Target, machine string) []thief {
	t.Helper()
	kubelet := stolen(t, target, machine, unit.Profile{CA: unit.CAKubernetes, Name: "kubelet"})
	calico := stolen(t, target, machine, unit.Profile{CA: unit.CAEtcdOverlay, Name: "calico-node"})
	token := strings.TrimSpace(ashlar(t, "exec", machine, "--", "cat", unit.VaultTokenFile))
	lb, etcd, vault := target.Desired.WithRole("lb")[0], target.Desired.WithRole("etcd")[0], target.Desired.WithRole("vault")[0]
	api := fmt.Sprintf("https://%s:%d", lb.Address, unit.PortAPIServer)
	fresh := func(ca unit.CA, name string, pair *tls.Certificate, url, from, bearer string) func(context.Context) error {
		return func(ctx context.Context) error {
			c := clientFrom(target, from, ca, name, pair, true)
			defer c.CloseIdleConnections()
			return get(ctx, c, url, bearer)
		}
	}
	watch := openWatch(t, clientFrom(target, machine, unit.CAKubernetes, unit.APIServerName, &kubelet, false), api+"/api/v1/nodes?watch=1&fieldSelector=metadata.name%3D"+machine)
	return []thief{
		{"its kubelet's certificate, elsewhere", fresh(unit.CAKubernetes, unit.APIServerName, &kubelet, api+"/api/v1/nodes/"+machine, "worker-0", "")},
		{"its certificate at etcd, elsewhere", fresh(unit.CAEtcdOverlay, etcd.Name, &calico, fmt.Sprintf("https://%s:%d/version", etcd.Address, unit.EtcdClusters[2].ClientPort), "worker-0", "")},
		{"its Vault token", fresh(unit.CAVault, vault.Name, nil, fmt.Sprintf("https://%s:%d/v1/auth/token/lookup-self", vault.Address, unit.PortVault), machine, token)},
		{"a watch that was open", watch},
	}
}

func stolen(t *testing.T, target *claim.Target, machine string, p unit.Profile) tls.Certificate {
	t.Helper()
	cert, err := target.Provider.Read(t.Context(), machine, p.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	key, err := target.Provider.Read(t.Context(), machine, p.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func clientFrom(target *claim.Target, from string, ca unit.CA, server string, pair *tls.Certificate, once bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(target.Desired.CAs[ca]))
	config := &tls.Config{RootCAs: roots, ServerName: server, MinVersion: tls.VersionTLS12}
	if pair != nil {
		config.Certificates = []tls.Certificate{*pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: once, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return target.Provider.Dial(ctx, from, network, address)
	}}}
}

// get is an error if it is refused, in whatever way.
func get(ctx context.Context, c *http.Client, url, token string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" && strings.Contains(url, "/v1/auth/") {
		req.Header.Set("X-Vault-Token", token)
	} else if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	return err
}

// openWatch returns what says whether the watch is still open.
func openWatch(t *testing.T, c *http.Client, url string) func(context.Context) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("watch: %v, %v", res, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	return func(context.Context) error {
		select {
		case <-ended:
			return errors.New("it ended")
		default:
			return nil
		}
	}
}

// TestRevokeMachine revokes a machine that stays declared, makes it anew, and takes it away: each time what was stolen from it is
// soon of no use, and what is left is as the file says.
func TestRevokeMachine(t *testing.T) {
	const machine = "worker-2"
	declare(t, "count: 2}", "count: 3}")
	t.Cleanup(func() {
		declare(t, "count: 3}", "count: 2}")
		ashlar(t, "up")
		settled(t)
	})
	ashlar(t, "up")
	target := target(t)
	first := loot(t, target, machine)
	thieves(t, first, func() { t.Log(ashlar(t, "pki", "revoke", "--machine", machine, "--reason", "a stolen disk")) })
	if out := kubectl(t, "get", "nodes", "-o", "name"); strings.Contains(out, machine) {
		t.Errorf("Kubernetes still has the node:\n%s", out)
	}
	if plan, code := try("-f", file, "plan"); code != 0 || !strings.Contains(plan, machine+" is revoked") {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	if up := ashlar(t, "up"); !strings.Contains(up, machine+" is revoked, and left alone") {
		t.Errorf("up does not say that it left the machine alone:\n%s", up)
	}
	if out := ashlar(t, "status"); !strings.Contains(out, "revoked: everybody refuses it") {
		t.Errorf("status says\n%s", out)
	}
	if out := ashlar(t, "pki", "list"); strings.Count(out, "revoked") < 5 {
		t.Errorf("the list says\n%s", out)
	}

	// Powered off, it stays off.
	if err := target.Provider.PowerOff(t.Context(), machine); err != nil {
		t.Fatal(err)
	}
	ashlar(t, "up")
	if _, code := try("-f", file, "exec", machine, "--", "true"); code == 0 {
		t.Error("up has powered a revoked machine on")
	}

	declare(t, "count: 3}", "count: 2}")
	ashlar(t, "up")
	declare(t, "count: 2}", "count: 3}")
	ashlar(t, "up")
	if out := kubectl(t, "get", "nodes", "-o", "name"); !strings.Contains(out, machine) {
		t.Errorf("made anew, it is no node:\n%s", out)
	}
	if err := first[0].try(t.Context()); err == nil {
		t.Error("what was stolen before is of use again")
	}

	second := loot(t, target, machine)
	declare(t, "count: 3}", "count: 2}")
	thieves(t, second[:3], func() { ashlar(t, "up") }) // no word of the end of its watch reaches a machine that is cut off
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
}

// TestRevokeUser revokes a user, whose credential of ten minutes ends with it, and lets the user in again.
func TestRevokeUser(t *testing.T) {
	const password = "correct horse battery staple"
	given := func(args ...string) (string, int) {
		return tryWith(password+"\n", append([]string{"-f", file}, args...)...)
	}
	if out, code := given("user", "set", "mallory", "--password-stdin"); code != 0 {
		t.Fatalf("user set: exit %d\n%s", code, out)
	}
	t.Cleanup(func() { ashlar(t, "user", "remove", "mallory") })
	login := func() {
		t.Helper()
		if out, code := given("login", "mallory", "--password-stdin"); code != 0 {
			t.Fatalf("login: exit %d\n%s", code, out)
		}
	}
	login()
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(ashlar(t, "login", "mallory", "--credential")), &credential); err != nil {
		t.Fatal(err)
	}
	target := target(t)
	api := fmt.Sprintf("https://%s:%d/api", target.Desired.WithRole("lb")[0].Address, unit.PortAPIServer)
	use := func(ctx context.Context) error {
		return get(ctx, clientFrom(target, provider.FromOperator, unit.CAKubernetes, unit.APIServerName, nil, true), api, credential.Status.Token)
	}
	thieves(t, []thief{{"a credential that was fetched before", use}}, func() { ashlar(t, "pki", "revoke", "--user", "mallory", "--reason", "left") })
	if out, code := given("login", "mallory", "--password-stdin"); code == 0 {
		t.Errorf("logs in again:\n%s", out)
	}
	if plan, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("plan: exit %d\n%s", code, plan)
	}
	if out := ashlar(t, "pki", "audit", "--user", "mallory"); !strings.Contains(out, "login") || !strings.Contains(out, "identity") {
		t.Errorf("the audit says\n%s", out)
	}
	ashlar(t, "user", "enable", "mallory")
	login()
	eventually(t, 10*time.Second, func() error { return use(t.Context()) })
	for _, args := range [][]string{{"--user", "nobody", "--reason", "x"}, {"--machine", "worker-9", "--reason", "x"}, {"--serial", "00:11", "--reason", "x"},
		{"--user", "mallory"}, {"--reason", "x"}, {"--user", "mallory", "--serial", "00:11", "--reason", "x"}} {
		if out, code := try(append([]string{"-f", file, "pki", "revoke"}, args...)...); code != 64 {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
}

// sentAround is an administrator's certificate, out of a kubeconfig.
func sentAround(t *testing.T) tls.Certificate {
	t.Helper()
	config := ashlar(t, "kubeconfig")
	part := func(name string) []byte {
		m := regexp.MustCompile(name + `: (\S+)`).FindStringSubmatch(config)
		if m == nil {
			t.Fatalf("the kubeconfig has no %s", name)
		}
		b, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pair, err := tls.X509KeyPair(part("client-certificate-data"), part("client-key-data"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// readsSecrets tries an administrator's certificate at the API.
func readsSecrets(target *claim.Target, pair tls.Certificate) func(context.Context) error {
	api := fmt.Sprintf("https://%s:%d/api/v1/secrets", target.Desired.WithRole("lb")[0].Address, unit.PortAPIServer)
	return func(ctx context.Context) error {
		return get(ctx, clientFrom(target, provider.FromOperator, unit.CAKubernetes, unit.APIServerName, &pair, true), api, "")
	}
}

// TestRevokeSerial revokes an administrator's certificate that was sent around, and one that a kubelet uses, which gets another.
func TestRevokeSerial(t *testing.T) {
	target := target(t)
	pair := sentAround(t)
	serial := fmt.Sprintf("%x", pair.Leaf.SerialNumber)
	use := readsSecrets(target, pair)
	worker := target.Desired.WithRole("worker")[0]
	thieves(t, []thief{
		{"at the API", use},
		{"at a kubelet", func(ctx context.Context) error {
			return get(ctx, clientFrom(target, "control-plane-0", unit.CAKubernetes, worker.Name, &pair, true),
				fmt.Sprintf("https://%s:%d/pods", worker.Address, unit.PortKubelet), "")
		}},
	}, func() { ashlar(t, "pki", "revoke", "--serial", serial, "--reason", "sent around") })
	t.Run("the webhook is away", func(t *testing.T) {
		pid := fmt.Sprint(unitsOf(t, "control-plane-0")["webhook"])
		t.Cleanup(func() { ashlar(t, "exec", "control-plane-0", "--", "kill", "-CONT", pid) })
		ashlar(t, "exec", "control-plane-0", "--", "kill", "-STOP", pid)
		kubectl(t, "get", "secrets")
		if use(t.Context()) == nil {
			t.Error("what was revoked is let in while the webhook is away")
		}
	})
	if out := ashlar(t, "pki", "audit", "--serial", serial); !strings.Contains(out, "issued") || !strings.Contains(out, "revoked") {
		t.Errorf("the audit says\n%s", out)
	}

	ca, _ := pem.Decode([]byte(target.Desired.CAs[unit.CAKubernetes]))
	if root, err := x509.ParseCertificate(ca.Bytes); err != nil {
		t.Error(err)
	} else if out, code := try("-f", file, "pki", "revoke", "--serial", fmt.Sprintf("%x", root.SerialNumber.Bytes()), "--reason", "x"); code != 64 {
		t.Errorf("the CA itself: exit %d\n%s", code, out)
	}

	name := worker.Name + " kubernetes/kubelet"
	before := certificateSerials(t, file)[name]
	ashlar(t, "pki", "revoke", "--serial", before, "--reason", "of no use to a thief any more")
	eventually(t, 30*time.Second, func() error {
		if now := certificateSerials(t, file)[name]; now == before {
			return errors.New("the kubelet still has the certificate that was revoked")
		}
		return nil
	})
	settled(t)
}

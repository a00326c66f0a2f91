package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/test/load"
)

// reopen opens the cluster anew, as who logs in again.
func reopen(t *testing.T) load.Open {
	spec := open(t).Spec
	return func(ctx context.Context) (*claim.Target, error) {
		c, err := phase.Open(spec, phase.Options{})
		if err != nil {
			return nil, err
		}
		defer c.Close(ctx)
		return phase.Target(ctx, c)
	}
}

// underLoad puts the cluster under load until the returned function is called, which says whether it was flawless.
func underLoad(t *testing.T) func() load.Report {
	t.Helper()
	l, err := load.Start(t.Context(), reopen(t))
	if err != nil {
		t.Fatal(err)
	}
	return func() load.Report {
		t.Helper()
		r := l.Stop()
		t.Log(r)
		if err := r.Flawless(); err != nil {
			t.Error(err)
		}
		return r
	}
}

// plane is something that takes client certificates of a CA.
type plane struct {
	ca      unit.CA
	machine unit.Machine
	port    int
	from    string // the machine that may connect, and whose certificate this is
	profile unit.Profile
	http    bool
}

// planesOf are one listener of each kind, with a client that it takes.
func planesOf(d unit.Desired) []plane {
	etcd, apiServer, worker := d.WithRole(v1alpha1.RoleEtcd)[0], d.WithRole(v1alpha1.RoleControlPlane)[0], d.WithRole(v1alpha1.RoleWorker)[0]
	client := func(ca unit.CA, name string) unit.Profile { return unit.Profile{CA: ca, Name: name} }
	return []plane{
		{unit.CAKubernetes, apiServer, unit.PortAPIServer, apiServer.Name, client(unit.CAKubernetes, "kube-scheduler"), true},
		{unit.CAKubernetes, worker, unit.PortKubelet, apiServer.Name, client(unit.CAKubernetes, "kube-apiserver-kubelet-client"), true},
		{unit.CAEtcdKubernetes, etcd, unit.EtcdClusters[0].ClientPort, apiServer.Name, client(unit.CAEtcdKubernetes, "kube-apiserver"), false},
		{unit.CAEtcdKubernetes, etcd, unit.EtcdClusters[1].ClientPort, apiServer.Name, client(unit.CAEtcdKubernetes, "kube-apiserver"), false},
		{unit.CAEtcdOverlay, etcd, unit.EtcdClusters[2].ClientPort, worker.Name, client(unit.CAEtcdOverlay, "calico-node"), false},
	}
}

// held is what somebody copied off a machine: a certificate with its key, and whom it trusts.
type held struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

func hold(t *testing.T, target *claim.Target, machine string, p unit.Profile) held {
	t.Helper()
	var files [3][]byte
	for i, path := range []string{p.CertFile(), p.KeyFile(), unit.CAFile(p.CA)} {
		var err error
		if files[i], err = target.Provider.Read(t.Context(), machine, path); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		t.Fatal(err)
	}
	h := held{pair, x509.NewCertPool()}
	h.roots.AppendCertsFromPEM(files[2])
	return h
}

// enters tries whether a plane takes a certificate; trusting, whether the plane's own is one that the holder trusts.
func (h held) enters(ctx context.Context, target *claim.Target, p plane, trusting bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	raw, err := target.Provider.Dial(ctx, p.from, "tcp", fmt.Sprintf("%s:%d", p.machine.Address, p.port))
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{h.pair}, RootCAs: h.roots, ServerName: p.machine.Name,
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: !trusting}) //nolint:gosec // whom the server trusts is the question
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if !p.http {
		return answers(ctx, conn)
	}
	client := http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s/configz", p.machine.Name), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return errors.New(resp.Status)
	}
	return nil
}

// answers waits for what etcd says after a handshake: with TLS 1.3 a server's refusal of a certificate comes only then.
func answers(ctx context.Context, conn *tls.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b := make([]byte, 16)
	_, err := io.ReadFull(conn, b)
	if err == nil && !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		return fmt.Errorf("etcd answers %q", b)
	}
	return err
}

// rotate replaces keys, and proves that what was held of the old ones is good for nothing, and what is held of the new
// ones is good.
func rotate(t *testing.T, args ...string) {
	t.Helper()
	before := target(t)
	planes := planesOf(before.Desired)
	var old []held
	for _, p := range planes {
		h := hold(t, before, p.from, p.profile)
		if err := h.enters(t.Context(), before, p, true); err != nil {
			t.Fatalf("before, %s/%s at %s:%d: %v", p.ca, p.profile.Name, p.machine.Name, p.port, err)
		}
		old = append(old, h)
	}
	began := time.Now()
	out, code := tryFor(30*time.Minute, append([]string{"-f", file, "pki", "rotate"}, args...)...)
	t.Logf("exit %d after %s\n%s", code, time.Since(began).Round(time.Second), out)
	if code != 0 {
		t.Fatal("the rotation failed")
	}
	after := target(t)
	for i, p := range planes {
		name := fmt.Sprintf("%s/%s at %s:%d", p.ca, p.profile.Name, p.machine.Name, p.port)
		if err := hold(t, after, p.from, p.profile).enters(t.Context(), after, p, true); err != nil {
			t.Errorf("after, %s: %v", name, err)
		}
		if before.Desired.CAs[p.ca] == after.Desired.CAs[p.ca] {
			continue
		}
		if old[i].enters(t.Context(), after, p, false) == nil {
			t.Errorf("%s still takes a certificate of the old CA", name)
		}
		stranger := held{roots: old[i].roots, pair: hold(t, after, p.from, p.profile).pair}
		if stranger.enters(t.Context(), after, p, true) == nil {
			t.Errorf("%s still shows a certificate of the old CA", name)
		}
	}
	if out, code := try("-f", file, "plan"); code != 0 {
		t.Errorf("after the rotation, plan: exit %d\n%s", code, out)
	}
}

// rotateUnderLoad replaces keys while clients write, read and watch: nobody is refused, and nobody misses anything.
func rotateUnderLoad(t *testing.T, args ...string) {
	t.Helper()
	stop := underLoad(t)
	rotate(t, args...)
	if r := stop(); r.Total() < 10_000 && args[0] == rotation.All {
		t.Errorf("that was no load: %s", r)
	}
}

// TestRotate replaces one CA, is killed in the middle of another and goes on by `up`, and takes a third one back.
func TestRotate(t *testing.T) {
	if out, code := try("-f", file, "pki", "rotate", "etcd-overlay", "--plan"); code != 2 || !strings.Contains(out, "etcd-0") {
		t.Errorf("--plan: exit %d\n%s", code, out)
	}
	rotate(t, "etcd-overlay", "--now")
	for _, args := range [][]string{{"nothing"}, {}, {"--resume", "kubernetes"}, {"--abort"}} {
		if out, code := try(append([]string{"-f", file, "pki", "rotate"}, args...)...); code != 64 {
			t.Errorf("rotate %v: exit %d\n%s", args, code, out)
		}
	}
	if out := ashlar(t, "pki", "rotate", "--resume"); strings.Contains(out, "prepare") {
		t.Errorf("nothing was begun, and it resumes\n%s", out)
	}

	before := target(t).Desired.CAs[unit.CAFrontProxy]
	killedAt(t, rotation.Trust, "front-proxy", "--now")
	if out, code := try("-f", file, "plan"); code != 2 || !strings.Contains(out, "front-proxy") || !strings.Contains(out, "stands at") {
		t.Errorf("plan in the middle: exit %d\n%s", code, out)
	}
	if out, code := try("-f", file, "pki", "rotate", "etcd-k8s"); code != 64 || !strings.Contains(out, "--resume") {
		t.Errorf("another rotation in the middle: exit %d\n%s", code, out)
	}
	ashlar(t, "pki", "rotate", "--abort")
	if target(t).Desired.CAs[unit.CAFrontProxy] != before {
		t.Error("after --abort there is another CA than before")
	}
	ashlar(t, "plan")

	killedAt(t, rotation.Issue, "front-proxy", "--now")
	if out := ashlar(t, "up"); !strings.Contains(out, "front-proxy drop") {
		t.Errorf("up did not go on with it:\n%s", out)
	}
	if after := target(t).Desired.CAs[unit.CAFrontProxy]; after == before {
		t.Error("there is the same CA as before")
	}
	ashlar(t, "plan")
	t.Run("every claim", holdAll)
}

// killedAt begins a rotation, and kills who works on it when it has come to a stage.
func killedAt(t *testing.T, stage rotation.Stage, args ...string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-f", file, "pki", "rotate"}, args...)...)
	since := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it was killed
	awaitStage(t, rotation.Target(args[0]), stage, since)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

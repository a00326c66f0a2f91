package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// aFew of the suite's specs: both directions, all kinds of selectors, ports, CIDRs and a policy that changes.
const aFew = `default-deny-all|PodSelector and NamespaceSelector|Ingress, Egress specified together|except clause|updated policy|egress access on one named port`

// netpolProcs is how many specs run side by side. Most of each is waiting for what must not arrive.
const netpolProcs = 4

// TestNetpol runs the NetworkPolicy tests of Kubernetes' own end-to-end suite (test/netpol): a few, or with ASHLAR_SLOW or
// `make netpol` all of them; with ASHLAR_NETPOL those that match it.
func TestNetpol(t *testing.T) {
	suite, ginkgo := filepath.Join(filepath.Dir(binary), "netpol.test"), filepath.Join(filepath.Dir(binary), "ginkgo")
	if _, err := os.Stat(suite); err != nil {
		t.Fatalf("the suite is not built: run `make suite`: %v", err)
	}
	focus := cmp.Or(os.Getenv("ASHLAR_NETPOL"), aFew)
	if slow {
		focus = "Netpol"
	}
	// The suite knows of no default: its namespaces are open until it closes them, and its pods say nothing of what they may do.
	declared(t, `  network: {policy: {open: [{labels: {e2e-run: netpol}}]}}
  isolation: {grants: [{class: baseline, namespaceLabels: {e2e-run: netpol}, default: true, serviceAccounts: ["*"]}]}
`)
	nameAgnhost(t, suite)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, kubeconfig)

	report := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	var out bytes.Buffer
	began := time.Now()
	ran := open(t).RunInside(provider.FromOperator, func() error {
		run := exec.CommandContext(ctx, ginkgo, fmt.Sprintf("--procs=%d", netpolProcs), "--no-color", "--succinct", "--focus="+focus,
			"--label-filter="+kernelHas(t), "--output-dir="+filepath.Dir(report), "--json-report="+filepath.Base(report), suite, "--", "--kubeconfig="+kubeconfig)
		run.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
		run.Stdout, run.Stderr = &out, &out
		run.Cancel = func() error { return run.Process.Signal(os.Interrupt) } // it cleans up
		run.WaitDelay = time.Minute
		return run.Run()
	})
	passed, failed := specs(t, report)
	t.Logf("%d passed of %d in %s", passed, passed+len(failed), time.Since(began).Round(time.Second))
	for _, f := range failed {
		t.Errorf("failed: %s", f)
	}
	if ran != nil || passed == 0 {
		t.Errorf("ginkgo: %v\n%s", ran, out.String())
	}
}

// nameAgnhost gives the bundle's agnhost the name by which the suite asks for it. There is no registry to ask.
func nameAgnhost(t *testing.T, suite string) {
	t.Helper()
	name, err := exec.CommandContext(t.Context(), suite, "-image").Output()
	if err != nil {
		t.Fatalf("ask the suite for its image: %v", err)
	}
	ours := importImage(t, "agnhost")
	for _, worker := range []string{"worker-0", "worker-1"} {
		ashlar(t, "exec", worker, "--", unit.Bin+"/ctr", "--namespace=k8s.io", "images", "tag", "--force", ours, strings.TrimSpace(string(name)))
	}
}

// writeKubeconfig writes an administrator's. The suite asks a cluster that has its context's name without the server name
// that it says to expect, so the context has another one.
func writeKubeconfig(t *testing.T, file string) {
	t.Helper()
	config, err := clientcmd.Load([]byte(ashlar(t, "kubeconfig")))
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts["suite"] = config.Contexts[config.CurrentContext]
	config.CurrentContext = "suite"
	if err := clientcmd.WriteToFile(*config, file); err != nil { // readable by its owner alone
		t.Fatal(err)
	}
}

// kernelHas leaves out what needs SCTP where the kernel has no sockets of it.
func kernelHas(t *testing.T) string {
	t.Helper()
	protocols, err := os.ReadFile("/proc/net/protocols")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(protocols, []byte("\nSCTP ")) {
		return ""
	}
	t.Log("this kernel has no SCTP: without the specs that open such connections")
	return "!Feature:SCTPConnectivity"
}

// specs reads ginkgo's report.
func specs(t *testing.T, file string) (passed int, failed []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Logf("there is no report: %v", err)
		return 0, nil
	}
	var suites []struct {
		SpecReports []struct {
			LeafNodeType, LeafNodeText, State string
			RunTime                           time.Duration
			Failure                           struct{ Message string }
		}
	}
	if err := json.Unmarshal(b, &suites); err != nil {
		t.Fatalf("read ginkgo's report: %v", err)
	}
	for _, s := range suites {
		for _, r := range s.SpecReports {
			switch {
			case r.State == "passed" && r.LeafNodeType == "It":
				passed++
				t.Logf("%5.1fs %s", r.RunTime.Seconds(), r.LeafNodeText)
			case r.State == "passed" || r.State == "skipped":
			default:
				failed = append(failed, fmt.Sprintf("%s %s: %s: %s", r.LeafNodeType, r.LeafNodeText, r.State, r.Failure.Message))
			}
		}
	}
	return passed, failed
}

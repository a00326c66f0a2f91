package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
)

// TestSecondUp: a cluster that is as its file says is left alone.
func TestSecondUp(t *testing.T) {
	if out := ashlar(t, "up"); !strings.Contains(out, "nothing to change") {
		t.Errorf("a second up says:\n%s", out)
	}
	if out := ashlar(t, "plan"); !strings.Contains(out, "nothing to change") {
		t.Errorf("plan says:\n%s", out)
	}
}

// status is what `ashlar status -o json` says of a file's cluster.
func status(t *testing.T, file string) []phase.MachineReport {
	t.Helper()
	out, code := try("-f", file, "status", "-o", "json")
	var machines []phase.MachineReport
	if err := json.Unmarshal([]byte(out), &machines); err != nil || code != 0 {
		t.Fatalf("status: exit %d, %v\n%s", code, err, out)
	}
	return machines
}

// TestStatus: machines report units that run, certificates with a future, and no problems.
func TestStatus(t *testing.T) {
	machines := status(t, file)
	if len(machines) != 8 {
		t.Fatalf("%d machines", len(machines))
	}
	for _, m := range machines {
		if m.State != provider.Running || len(m.Status.Units) == 0 || len(m.Status.Problems) > 0 {
			t.Errorf("%s is %s with %d units; problems: %v", m.Name, m.State, len(m.Status.Units), m.Status.Problems)
		}
		for _, u := range m.Status.Units {
			if !u.State.Settled() {
				t.Errorf("%s/%s is %s", m.Name, u.Name, u.State)
			}
		}
		for _, c := range m.Status.Certificates {
			if left := time.Until(c.NotAfter); left < 20*time.Hour || left > 24*time.Hour {
				t.Errorf("%s: certificate %s/%s lives for another %s", m.Name, c.CA, c.Name, left)
			}
		}
	}
}

// TestKubeconfig: the file works where the cluster's network is, holds a certificate of hours in a group that RBAC
// knows, and nothing of it is on the command line or left behind.
func TestKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.kubeconfig")
	if err := os.WriteFile(path, []byte(ashlar(t, "kubeconfig")), 0o600); err != nil {
		t.Fatal(err)
	}
	var who []byte
	kubectlBinary := filepath.Join(open(t).Bundle.Dir, "bin", "kubectl")
	err := open(t).RunInside(provider.FromOperator, func() (err error) {
		cmd := exec.CommandContext(t.Context(), kubectlBinary, "--kubeconfig="+path, "auth", "whoami", "-o", "json")
		cmd.Env = []string{"HOME=" + t.TempDir()}
		who, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("kubectl: %v\n%s", err, who)
	}
	if !strings.Contains(string(who), `"ashlar:admins"`) || strings.Contains(string(who), "system:masters") {
		t.Errorf("the administrator is\n%s", who)
	}
	if out := kubectl(t, "auth", "whoami"); !strings.Contains(out, "ashlar:admins") {
		t.Errorf("ashlar kubectl is\n%s", out)
	}
}

// TestLogs: the log of a unit, of an agent, and an answer to what has none.
func TestLogs(t *testing.T) {
	if out := ashlar(t, "logs", "control-plane-0", "kube-apiserver", "--lines=5"); strings.Count(out, "\n") != 5 {
		t.Errorf("five lines of the API server:\n%s", out)
	}
	if out := ashlar(t, "logs", "worker-0"); !strings.Contains(out, "logged in with the init token") {
		t.Errorf("the agent's log:\n%s", out)
	}
	for _, args := range [][]string{{"worker-0", "no-such-unit"}, {"no-such-machine"}, {"worker-0", "../../etc/shadow"}} {
		out, code := try(append([]string{"-f", file, "logs"}, args...)...)
		if code == 0 || strings.Contains(out, "root:") {
			t.Errorf("logs %v: exit %d\n%s", args, code, out)
		}
	}
}

// TestExec passes arguments, input and the exit code through.
func TestExec(t *testing.T) {
	out, code := tryWith("from stdin\n", "-f", file, "exec", "worker-0", "--", "sh", "-c", `cat; echo "$1"; exit 7`, "sh", "two words")
	if code != 7 || out != "from stdin\ntwo words\n" {
		t.Errorf("exit %d: %q", code, out)
	}
}

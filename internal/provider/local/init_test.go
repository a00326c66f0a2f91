package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/provider"
)

// agentStandIn leaves an orphan that goes on, one that ends at once, and its arguments.
const agentStandIn = `#!/bin/sh
echo "started $*"
echo $$ > /run/agent
[ -e /run/child ] || { setsid sleep 1000 & echo $! > /run/child; }
(setsid sh -c 'sleep 0.1' &)
trap 'echo terminated; echo clean > /var/lib/end; exit' TERM
while :; do sleep 0.05; done
`

// The real first process, with a stand-in for the agent.
func TestInit(t *testing.T) {
	p := testProvider(t, bundleInMachine+"/bin/ashlar-init", bundleInMachine+"/bin/ashlar", "agent")
	build := exec.Command("go", "build", "-o", filepath.Join(p.Bundle, "bin", "ashlar-init"), "ashlar.dev/ashlar/cmd/ashlar-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(p.Bundle, "bin", "ashlar"), []byte(agentStandIn), 0o755); err != nil {
		t.Fatal(err)
	}
	m := up(t, p, one)[0]
	eventually(t, "the agent starts at once", func() bool { return output(t, p, m.Name, "cat /run/child 2>/dev/null; true") != "" })
	agent, child := output(t, p, m.Name, "cat /run/agent"), output(t, p, m.Name, "cat /run/child")

	output(t, p, m.Name, "kill -9 "+agent)
	eventually(t, "a killed agent is started again", func() bool { return output(t, p, m.Name, "cat /run/agent") != agent })
	output(t, p, m.Name, "kill -0 "+child) // what the agent had started goes on
	eventually(t, "orphans are reaped", func() bool {
		return output(t, p, m.Name, "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true") == "0"
	})
	log, err := p.Read(t.Context(), m.Name, "/var/log/ashlar/agent.log")
	if err != nil || strings.Count(string(log), "started agent\n") != 2 {
		t.Errorf("the agent's log: %q, %v", log, err)
	}

	// The shell that asks is on the machine, and told to end like everything else there: its exit code may say so.
	_ = p.Exec(t.Context(), m.Name, provider.Exec{Args: []string{"/bin/sh", "-c", "kill -TERM 1"}})
	eventually(t, "the machine ends when asked to", func() bool { return p.state(m.Name) == provider.Stopped })
	if b, err := p.Read(t.Context(), m.Name, "/var/lib/end"); string(b) != "clean\n" {
		t.Errorf("the agent was not told: %q, %v", b, err)
	}
	if again := up(t, p, one)[0]; again.State != provider.Running {
		t.Errorf("%s after it was powered on again", again.State)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 8*time.Second; time.Sleep(10 * time.Millisecond) {
		if condition() {
			t.Logf("%s: after %s", what, time.Since(start).Round(time.Millisecond))
			return
		}
	}
	t.Errorf("%s: not within 8 s", what)
}

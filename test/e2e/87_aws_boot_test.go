package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// TestAWSBoot boots an instance by the user data that terraform/aws gives it: systemd and cloud-init are real, as are the bundle's
// archive, the cluster and its Vault; AWS's metadata service, S3, EC2 and STS are stand-ins. What is away at first, or wrong, is
// waited for and said. In the end the instance is a node, by the name that Vault has read in its identity document.
func TestAWSBoot(t *testing.T) {
	s := newAWSStage(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.lastWords()
		}
		_, _ = try("-f", file, "kubectl", "--", "delete", "node", s.node(), "--ignore-not-found")
		if err := s.board.Delete(context.Background(), awsMachine); err != nil {
			t.Error(err)
		}
		ashlar(t, "up") // it knows nothing of the machine, nor of AWS
	})
	archive, err := s.cluster.Bundle.Archive(t.Context())
	s.must(err)
	s.enable()
	desired := s.target.Desired
	desired.Self, desired.Region = awsPool, awsRegion
	_, err = s.target.Vault.WriteDocument(t.Context(), awsPool, vault.Desired, 0, desired)
	s.must(err)
	s.toldOfCloud("etcd-0")
	s.connect("the agent") // no way to Vault yet
	for _, m := range desired.WithRole(v1alpha1.RoleVault) {
		s.launch("i-0"+m.Name, m.Name, m.Address, "")
	}
	data := s.userData(archive.Digest, archive.Key(), nil)
	checkUserData(t, data)
	checkUserData(t, s.userData(archive.Digest, archive.Key(), map[string]any{"role": "etcd", "machine": "etcd-0", "pool": "", "data": true,
		"attestation_mount": vault.AWSMachinePath(name), "attestation_role": "etcd-0", "packages": []string{"nftables"}}))
	s.launch(s.id, awsPool, s.machine.Address, data)

	began := time.Now()
	step := func(what string) {
		t.Logf("%6.1fs %s", time.Since(began).Seconds(), what)
	}
	s.objects.Away(true)
	s.power()
	const bundle, agent = "ashlar-bundle.service", "ashlar.service"
	s.says(bundle, "cannot be fetched from https://"+s.bucket, time.Minute)
	step("S3 is away: it says so")
	s.objects.Put(s.bucket+"/"+archive.Key(), []byte("something else"))
	s.objects.Away(false)
	s.says(bundle, "refused: what is at https://"+s.bucket+".s3."+awsRegion+".amazonaws.com/"+archive.Key()+" has the digest", time.Minute)
	step("another digest: refused")
	if out, err := s.on("ls", "-A", "/opt/ashlar/bundles"); err != nil || out != "" {
		t.Errorf("what it refused is left behind: %s %v", out, err)
	}
	s.objects.PutFile(s.bucket+"/"+archive.Key(), archive.File)
	s.says(agent, "wait for Vault's CA", 3*time.Minute)
	step("the bundle is there, and the agent; it waits for Vault's CA")
	s.objects.Put(s.bucket+"/"+name+"/vault-ca.pem", []byte(desired.CAs["vault"]))
	s.says(agent, "log in to Vault", time.Minute)
	step("it knows Vault's CA; Vault cannot be reached")
	s.connect()
	eventually(t, 2*time.Minute, func() error {
		out, code := try("-f", file, "kubectl", "--", "get", "node", s.node(), "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if code != 0 || out != "True" {
			log, _ := s.on("journalctl", "--no-pager", "--output=cat", "--lines=15", "--unit="+agent)
			return fmt.Errorf("%s is not Ready: %s\n%s", s.node(), out, log)
		}
		return nil
	})
	step(s.node() + " is Ready")
	s.afterBoot(archive.Digest)
}

// toldOfCloud has a machine of the cluster be told what it would be told on AWS: that workers come and go.
func (s *awsStage) toldOfCloud(machine string) {
	s.t.Helper()
	var d unit.Desired
	version, err := s.target.Vault.ReadDocument(s.t.Context(), machine, vault.Desired, &d)
	s.must(err)
	d.Region = awsRegion
	_, err = s.target.Vault.WriteDocument(s.t.Context(), machine, vault.Desired, version, d)
	s.must(err)
}

// node is the name of the instance in the cluster.
func (s *awsStage) node() string { return vault.MemberName(s.id, awsRegion) }

// afterBoot looks at the machine, and at what is left of its way.
func (s *awsStage) afterBoot(digest string) {
	s.t.Helper()
	if out, err := s.on("cloud-init", "status", "--wait"); err != nil || !strings.Contains(out, "done") {
		log, _ := s.on("grep", "-E", "WARNING|ERROR|Traceback", "/var/log/cloud-init.log")
		s.t.Errorf("cloud-init: %v %s\n%s", err, out, log)
	}
	if out, err := s.on("readlink", "/opt/ashlar/bundle"); err != nil || strings.TrimSpace(out) != "/opt/ashlar/bundles/archive-"+digest {
		s.t.Errorf("the bundle is %s, %v", out, err)
	}
	if out, err := s.on("systemctl", "is-enabled", "ssh.service"); err == nil || strings.TrimSpace(out) != "masked" {
		s.t.Errorf("the distribution's sshd is %s", out)
	}
	// Units outlive the agent.
	pid := func(unit string) string {
		out, err := s.on("pgrep", "--oldest", "--exact", unit)
		s.must(err)
		return strings.TrimSpace(out)
	}
	kubelet, before := pid("kubelet"), pid("ashlar")
	out, err := s.on("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "ashlar.service")
	if err != nil {
		s.t.Fatalf("%v %s", err, out)
	}
	eventually(s.t, 30*time.Second, func() error {
		if now, err := s.on("systemctl", "show", "--property=MainPID", "--value", "ashlar.service"); err != nil || strings.TrimSpace(now) == before || strings.TrimSpace(now) == "0" {
			return errors.New("systemd has not started the agent again")
		}
		return nil
	})
	if now := pid("kubelet"); now != kubelet {
		s.t.Errorf("the kubelet ended with the agent: %s, then %s", kubelet, now)
	}
	restarted := time.Now()
	eventually(s.t, 90*time.Second, func() error {
		var st agent.Status
		_, err := s.target.Vault.ReadDocument(s.t.Context(), s.node(), vault.Status, &st)
		if err == nil && (st.Seen.Before(restarted) || len(st.Problems) > 0) {
			err = fmt.Errorf("its status of %s: %q", st.Seen, st.Problems)
		}
		return err
	})
	s.runsPods()
}

// runsPods runs one on the node: in a group that systemd made for it.
func (s *awsStage) runsPods() {
	s.t.Helper()
	const pod = "on-the-instance"
	s.t.Cleanup(func() { _, _ = try("-f", file, "kubectl", "--", "delete", "pod", pod, "--now", "--ignore-not-found") })
	apply(s.t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: %s, terminationGracePeriodSeconds: 0,
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}},
  containers: [{name: pause, image: "%s", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}`, pod, s.node(), unit.PauseImage))
	kubectl(s.t, "wait", "pod/"+pod, "--for=condition=Ready", "--timeout=60s")
	uid := strings.ReplaceAll(kubectl(s.t, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}"), "-", "_")
	if out, err := s.on("systemctl", "list-units", "--no-legend", "kubepods*.slice"); err != nil || !strings.Contains(out, uid) {
		s.t.Errorf("systemd has no group of pod %s: %v\n%s", uid, err, out)
	}
}

// lastWords are what the machine said last.
func (s *awsStage) lastWords() {
	out, _ := try("-f", file, "kubectl", "--", "get", "node", s.node(), "-o", `jsonpath={range .status.conditions[*]}{.type}: {.message}{"\n"}{end}`)
	s.t.Log(out)
	for _, script := range []string{"systemctl --no-pager --failed", "journalctl --no-pager --output=cat --lines=30 --unit=ashlar.service",
		"ps axo pid,cgroup:60,args | cut -c1-150 | tail -40", "tail -n 8 /var/log/ashlar/*.log", "grep -E WARN -A20 /var/log/cloud-init.log | cut -c1-200 | tail -60"} {
		var out strings.Builder
		err := s.board.Exec(context.Background(), awsMachine, provider.Exec{Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &out})
		s.t.Logf("%s: %v\n%s", script, err, out.String())
	}
}

// checkUserData has cloud-init itself read user data.
func checkUserData(t *testing.T, data string) {
	t.Helper()
	t.Logf("user data: %d bytes", len(data))
	if len(data) > 16<<10 {
		t.Errorf("the user data are %d bytes, EC2 takes 16 KiB", len(data))
	}
	path := filepath.Join(t.TempDir(), "user-data.yaml")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cloud-init", "schema", "--config-file", path).CombinedOutput(); err != nil {
		t.Errorf("cloud-init schema: %v\n%s", err, out)
	}
}

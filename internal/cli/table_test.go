package cli

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
)

func expect(t *testing.T, table func(io.Writer) error, want string) {
	t.Helper()
	var out strings.Builder
	if err := table(&out); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStatusTable(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	well := []phase.MachineReport{
		{Name: "etcd-0", Role: v1alpha1.RoleEtcd, Address: netip.MustParseAddr("10.90.0.11"), State: provider.Running, Status: agent.Status{
			Seen:  now.Add(-7 * time.Second),
			Units: []agent.UnitStatus{{Name: "etcd-auth", State: agent.UnitDone}, {Name: "etcd-k8s", State: agent.UnitReady, Restarts: 2}, {Name: "etcd-overlay", State: agent.UnitReady, Restarts: 1}},
			Certificates: []agent.CertificateStatus{
				{Name: "server", Renew: now.Add(11 * time.Hour)}, {Name: "peer", Renew: now.Add(10*time.Hour + 18*time.Minute + 20*time.Second)}},
		}},
		{Name: "lb-0", Role: v1alpha1.RoleLB, State: provider.Absent},
	}
	expect(t, func(w io.Writer) error { return statusTable(w, well, now) },
		`MACHINE   ROLE   ADDRESS      STATE     UNITS   RESTARTS   NEXT RENEWAL   SEEN
etcd-0    etcd   10.90.0.11   running   3/3     3          in 10h18m0s    7s ago
lb-0      lb     -            absent    0/0     0          -              never
`)

	ill := []phase.MachineReport{
		{Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.90.0.14"), State: provider.Running, Status: agent.Status{
			Seen:         now.Add(-2 * time.Minute),
			Units:        []agent.UnitStatus{{Name: "containerd", State: agent.UnitReady}, {Name: "kubelet", State: agent.UnitFailed, Reason: "exit status 1", Restarts: 12}, {Name: "kube-proxy", State: agent.UnitWaiting}},
			Certificates: []agent.CertificateStatus{{Name: "kubelet", Renew: now.Add(-time.Minute)}},
			Problems:     []string{"Vault is away"},
		}},
	}
	expect(t, func(w io.Writer) error { return statusTable(w, ill, now) },
		`MACHINE    ROLE     ADDRESS      STATE     UNITS   RESTARTS   NEXT RENEWAL   SEEN
worker-0   worker   10.90.0.14   running   1/3     12         due            2m0s ago

WHERE                 PROBLEM
worker-0/kubelet      failed exit status 1
worker-0/kube-proxy   waiting
worker-0              Vault is away
`)

	public := []phase.MachineReport{{Name: "bastion-0", Role: v1alpha1.RoleBastion, Address: netip.MustParseAddr("10.90.0.16"), Public: netip.MustParseAddr("203.0.113.16"),
		State: provider.Running, Status: agent.Status{Seen: now, Problems: []string{phase.ToEverybody}}}}
	expect(t, func(w io.Writer) error { return statusTable(w, public, now) },
		`MACHINE     ROLE      ADDRESS                   STATE     UNITS   RESTARTS   NEXT RENEWAL   SEEN
bastion-0   bastion   10.90.0.16 203.0.113.16   running   0/0     0          -              0s ago

WHERE       PROBLEM
bastion-0   everybody on the internet may knock here: spec.exposure.trustedCIDRs holds 0.0.0.0/0, acknowledged
`)
}

func TestVerifyTable(t *testing.T) {
	results := []claim.Result{
		{ID: "pki-init-token", Claim: "an init token is of use once", Verdict: claim.Holds, Kind: claim.Observed, Seconds: 1.26, Evidence: []claim.Evidence{
			{Attempt: "log in again", From: "worker-0", As: "its init token", Want: claim.Refused, Got: claim.Refused, Answer: "400: invalid secret id"},
			{Attempt: "log in", From: "worker-0", As: "its init token", Want: claim.Allowed, Got: claim.Allowed, Answer: "succeeded"}}},
		{ID: "api-internal", Claim: "the API is not public", Verdict: claim.Broken, Kind: claim.Planned, Reason: "connect was allowed: succeeded", Seconds: 0.04,
			Evidence: []claim.Evidence{{Attempt: "connect", Want: claim.Refused, Got: claim.Allowed, Answer: "succeeded"}}},
		{ID: "data-audit", Claim: "every request is logged", Verdict: claim.Untried, Kind: claim.Observed, Reason: "no attempt was made"},
	}
	const table = `VERDICT   CLAIM            HOW                ATTEMPTS   TIME   PROMISE, OR WHAT BROKE IT
holds     pki-init-token   observed           2          1.3s   an init token is of use once
broken    api-internal     proved from plan   1          0.0s   connect was allowed: succeeded
untried   data-audit       observed           0          0.0s   no attempt was made
`
	expect(t, func(w io.Writer) error { return verifyTable(w, results, false) }, table+"\n1 of 3 claims hold\n")
	expect(t, func(w io.Writer) error { return verifyTable(w, results, true) }, table+`
CLAIM            ATTEMPT        FROM       AS               WANTED    GOT       ANSWER
pki-init-token   log in again   worker-0   its init token   refused   refused   400: invalid secret id
pki-init-token   log in         worker-0   its init token   allowed   allowed   succeeded
api-internal     connect                                    refused   allowed   succeeded

1 of 3 claims hold
`)
}

func TestUpTable(t *testing.T) {
	c := &phase.Cluster{Spec: &v1alpha1.Cluster{Metadata: v1alpha1.Metadata{Name: "demo"}}}
	expect(t, newUpReport(c, nil).table, "nothing to change\n")
	if newUpReport(c, nil).Differences == nil {
		t.Error("no differences are null, not a list")
	}
	expect(t, newUpReport(c, []phase.Drift{
		{Phase: "machines", Object: "worker-1", Cause: "is stopped", Action: "power it on"},
		{Phase: "units", Object: "worker-0/kubelet", Cause: "/etc/kubernetes/kubelet.yaml was edited", Action: "write it again and restart kubelet"},
	}).table,
		`PHASE      WHERE              WHAT DIFFERS                              UP WOULD
machines   worker-1           is stopped                                power it on
units      worker-0/kubelet   /etc/kubernetes/kubelet.yaml was edited   write it again and restart kubelet
`)
}

// watched closes seen when a text is written to it.
type watched struct {
	strings.Builder
	text string
	seen chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.text) {
		close(w.seen)
	}
	return w.Builder.Write(b)
}

// A claim is shown when it is decided, while others are still tried.
func TestVerifyShowsProgress(t *testing.T) {
	out := &watched{text: "✗ quick", seen: make(chan struct{})}
	results, err := verify(t.Context(), out, nil, []claim.Claim{
		{ID: "slow-to-be-decided", Probe: func(ctx context.Context, _ *claim.Target) ([]claim.Evidence, error) {
			select {
			case <-out.seen:
				return []claim.Evidence{{Want: claim.Refused, Got: claim.Refused}}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}},
		{ID: "quick", Probe: func(context.Context, *claim.Target) ([]claim.Evidence, error) {
			return nil, errors.New("nobody answers:\nconnection refused")
		}},
	})
	if err != nil || len(results) != 2 || results[0].ID != "slow-to-be-decided" {
		t.Fatalf("got %+v, %v", results, err)
	}
	want := []string{
		"✗ quick                #.##s  nobody answers: connection refused",
		"✓ slow-to-be-decided   #.##s",
		"✓ verify               #.##s  1 of 2 claims hold", ""}
	got := strings.Split(regexp.MustCompile(`[0-9]\.[0-9]{2}s`).ReplaceAllString(out.String(), "#.##s"), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, got))
	}
}

func TestChosen(t *testing.T) {
	all, err := chosen(nil)
	if err != nil || len(all) != len(claim.All()) {
		t.Errorf("without a choice: %d claims, %v", len(all), err)
	}
	two, err := chosen([]string{"vault-closed", "pki-init-token"})
	if err != nil || !slices.Equal(ids(two), []string{"vault-closed", "pki-init-token"}) {
		t.Errorf("got %v, %v", ids(two), err)
	}
}

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

const (
	clusterName = "scale"
	// atOnce is how many machines want something at the same moment, where it is measured how much Vault can do.
	atOnce = 16
)

// input is a cluster of so many workers, with the defaults of a cluster file.
func input(workers int) vault.Input {
	address := netip.MustParseAddr("127.1.0.0")
	add := func(in *vault.Input, name string, role v1alpha1.Role) {
		address = address.Next()
		in.Machines = append(in.Machines, unit.Machine{Name: name, Role: role, Address: address})
	}
	in := vault.Input{
		Cluster: clusterName, ID: "0123456789abcdef", LeafTTL: 24 * time.Hour, CATTL: 87600 * time.Hour, InitTokenTTL: 10 * time.Minute,
		AdminTTL: 8 * time.Hour, OperatorAddress: netip.MustParseAddr("127.0.0.1"), ServiceIP: netip.MustParseAddr("10.96.0.1"),
	}
	for _, r := range []v1alpha1.Role{v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleLB} {
		add(&in, string(r)+"-0", r)
	}
	for i := range workers {
		add(&in, fmt.Sprintf("worker-%d", i), v1alpha1.RoleWorker)
	}
	return in
}

// machine is a worker as Vault sees it.
type machine struct {
	unit.Machine
	client   *vault.Client
	profiles []unit.Profile
	csr      string // a key may be certified more than once: making keys is the machines' own work
	status   agent.Status
	version  int // of its status
}

func newMachine(s server, m unit.Machine) (*machine, error) {
	client, err := s.Client(m.Address.AsSlice())
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	w := &machine{Machine: m, client: client, csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))}
	w.status = agent.Status{Machine: m.Name}
	for _, p := range unit.ProfilesOf(m.Role) {
		w.profiles = append(w.profiles, p.For(m.Name))
		w.status.Certificates = append(w.status.Certificates, agent.CertificateStatus{CA: p.CA, Name: p.Name, Subject: p.CommonName})
	}
	for _, name := range []string{"containerd", "kubelet", "kube-proxy", "calico-node"} {
		w.status.Units = append(w.status.Units, agent.UnitStatus{Name: name, State: agent.UnitReady, Digest: "sha256:0123456789abcdef"})
	}
	return w, nil
}

// enrol proves which machine it is.
func (m *machine) enrol(ctx context.Context, s server) error {
	token, err := s.Operator.IssueInitToken(ctx, m.Name, 10*time.Minute)
	if err != nil {
		return err
	}
	m.client, _, err = m.client.LoginMachine(ctx, m.Name, token)
	return err
}

func (m *machine) sign(ctx context.Context, p unit.Profile) error {
	_, err := m.client.Sign(ctx, p, m.csr)
	return err
}

func (m *machine) report(ctx context.Context) (err error) {
	m.status.Seen = time.Now()
	m.version, err = m.client.WriteDocument(ctx, m.Name, vault.Status, m.version, m.status)
	return err
}

func (m *machine) ask(ctx context.Context) error {
	_, err := m.client.DocumentVersion(ctx, m.Name, vault.Desired)
	return err
}

func (m *machine) renew(ctx context.Context) error {
	_, err := m.client.RenewSelf(ctx)
	return err
}

// fleet is all workers.
type fleet []*machine

// all has every machine do something, a few at once, as fast as it goes, and gathers how long each took.
func (f fleet) all(ctx context.Context, do func(context.Context, *machine) error) (latencies []time.Duration, err error) {
	latencies = make([]time.Duration, len(f))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, m := range f {
		g.Go(func() error {
			began := time.Now()
			err := do(ctx, m)
			latencies[i] = time.Since(began)
			return err
		})
	}
	return latencies, g.Wait()
}

// play has the fleet do things at a steady rate, each machine in its turn, for a time.
func (f fleet) play(ctx context.Context, rates []rate, length time.Duration) (latencies []time.Duration, late int64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	var behind atomic.Int64
	for _, r := range rates {
		every := time.Duration(float64(time.Second) / r.perSecond)
		g.Go(func() error {
			tick := time.NewTicker(every)
			defer tick.Stop()
			end := time.After(length)
			running := errgroup.Group{}
			running.SetLimit(4 * atOnce)
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-end:
					return running.Wait()
				case <-tick.C:
				}
				m := f[n%len(f)]
				if !running.TryGo(func() error {
					began := time.Now()
					err := r.do(ctx, m, n)
					mu.Lock()
					defer mu.Unlock()
					latencies = append(latencies, time.Since(began))
					return err
				}) {
					behind.Add(1)
				}
			}
		})
	}
	err = g.Wait()
	return latencies, behind.Load(), err
}

// rate is how often something is done by somebody.
type rate struct {
	perSecond float64
	do        func(ctx context.Context, m *machine, n int) error
}

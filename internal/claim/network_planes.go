package claim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

var expPlanes = Claim{
	ID:    "exp-planes",
	Says:  "Etcd-Kubernetes: Is used within the k8s and k8s-events cluster and for Kubernetes API servers to communicate with it",
	Holds: "etcd, Vault, kubelets and all else that listens on a machine answer the roles that need them, and nobody else, from no place",
	Probe: probePlanes,
}

// opening is a port of a role's machines, and whose machines need it. A machine reaches itself without asking anybody.
type opening struct {
	role     v1alpha1.Role
	protocol string
	port     int
	what     string
	needed   []v1alpha1.Role
}

// openings are all that anything of ours listens on, written down here a second time: a rule too many is found because it is
// not in this list. The API servers' are in mayReachAPI.
func openings() []opening {
	const (
		v, e, c, w, l = v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleWorker, v1alpha1.RoleLB
		b, p, h       = v1alpha1.RoleBastion, v1alpha1.RolePublicLB, v1alpha1.RoleHub
	)
	out := []opening{
		{v, "tcp", unit.PortVault, "Vault", []v1alpha1.Role{provider.Operator, v, e, c, w, l, b, p, h}},
		{v, "tcp", unit.PortVaultCluster, "Vault's raft", []v1alpha1.Role{v}},
		{c, "tcp", 10257, "kube-controller-manager", nil},
		{c, "tcp", 10259, "kube-scheduler", nil},
		{c, "tcp", unit.PortWebhook, "the webhook", nil},
		{w, "tcp", unit.PortKubelet, "the kubelet", []v1alpha1.Role{c}},
		{w, "tcp", 10248, "the kubelet's health", nil},
		{w, "tcp", 10256, "kube-proxy's health", nil},
		{w, "tcp", 9099, "felix' health", nil},
		{w, "udp", unit.PortVXLAN, "the pods' overlay network", []v1alpha1.Role{w}},
	}
	for _, role := range []v1alpha1.Role{v, e, c, w, l, p, h} {
		out = append(out, opening{role, "tcp", unit.PortSSH, "ssh", []v1alpha1.Role{b}})
	}
	// From inside nobody enters the bastion; who may from outside is for exp-surface to say.
	out = append(out, opening{b, "tcp", unit.PortSSH, "ssh by its private address", nil})
	for _, cluster := range unit.EtcdClusters {
		clients := []v1alpha1.Role{e, c}
		if cluster.CA == unit.CAEtcdOverlay {
			clients = append(clients, w)
		}
		out = append(out, opening{e, "tcp", cluster.ClientPort, "etcd " + cluster.Name, clients},
			opening{e, "tcp", cluster.PeerPort, "peers of etcd " + cluster.Name, []v1alpha1.Role{e}},
			opening{e, "tcp", cluster.Metrics, "metrics of etcd " + cluster.Name, nil})
	}
	return out
}

// vantage is a place to connect from.
type vantage struct {
	name string
	role v1alpha1.Role
}

// vantages are the internet, from where it is trusted and where it is not, the operator, and every machine.
func vantages(machines []unit.Machine) []vantage {
	out := []vantage{{provider.FromInternet, ""}, {provider.FromTrusted, ""}, {provider.FromOperator, provider.Operator}}
	for _, m := range machines {
		out = append(out, vantage{m.Name, m.Role})
	}
	return out
}

// probePlanes knocks at every door of every machine, from everywhere.
func probePlanes(ctx context.Context, t *Target) ([]Evidence, error) {
	if t.Planned != nil {
		return t.proved(ctx, provedPlanes)
	}
	var out []*Evidence
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for _, d := range openings() {
		for _, to := range t.Desired.WithRole(d.role) {
			for _, from := range vantages(t.Desired.Machines) {
				if from.name == to.Name {
					continue
				}
				e := &Evidence{Attempt: fmt.Sprintf("connect to %s, %s:%d/%s", d.what, to.Name, d.port, d.protocol), From: from.name, As: "nobody", Want: Refused}
				if slices.Contains(d.needed, from.role) {
					e.Want = Allowed
				}
				out = append(out, e)
				g.Go(func() error { return e.knock(ctx, t, d, to) })
			}
		}
	}
	err := g.Wait()
	evidence := make([]Evidence, len(out))
	for i, e := range out {
		evidence[i] = *e
	}
	return evidence, err
}

// knock fills in what comes back. A machine that says that nobody listens has been reached.
func (e *Evidence) knock(ctx context.Context, t *Target, d opening, to unit.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.Provider.Dial(ctx, e.From, d.protocol, net.JoinHostPort(to.Address.String(), strconv.Itoa(d.port)))
	if err == nil {
		defer conn.Close()
		if d.protocol == "udp" {
			err = silence(conn)
		}
	}
	switch {
	case err == nil:
		e.Got, e.Answer = Allowed, "nobody objected"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Got, e.Answer = Allowed, "it was reached, and nothing listens there"
	default:
		e.Got, e.Answer = Refused, err.Error()
	}
	// Silence is the internet's refusal: datagrams have no other.
	if d.protocol == "udp" && e.Got == Allowed && (e.From == provider.FromInternet || e.From == provider.FromTrusted) {
		e.Got, e.Answer = Refused, "nothing came back"
	}
	return nil
}

// objection is how long a datagram's refusal may take.
const objection = 200 * time.Millisecond

// silence sends a datagram and returns what is said against it. It is not one that means anything to VXLAN.
func silence(conn net.Conn) error {
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(objection)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return err
}

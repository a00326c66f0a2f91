package claim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

var netPolicy = Claim{
	ID:    "net-policy",
	Says:  "The Toolkit uses Calico to translate the NetworkPolicy resources into iptables rules, that get applied to every host node on the cluster",
	Holds: "on every pair of nodes, pods reach what NetworkPolicies declare, as simulated, and nothing else",
	Probe: probeNetworkPolicy,
}

// Each node runs a client and a server, in two namespaces. Declared is that clients reach the web port of servers.
const (
	portWeb  = 8080
	portElse = 8081
	// enforcedWithin is how long a policy may take to be in force everywhere.
	enforcedWithin = 10 * time.Second
)

// peers are the pods of the attack, with their namespaces' labels.
type peers struct {
	client                   kubernetes.Interface
	pods                     []*corev1.Pod
	clients, servers         string // namespaces
	clientLabel, serverLabel map[string]string
}

// cell is one connection of the matrix.
type cell struct {
	from, to *corev1.Pod
	port     int32
}

func probeNetworkPolicy(ctx context.Context, t *Target) ([]Evidence, error) {
	c, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	p := &peers{client: c, clientLabel: map[string]string{"app": "client"}, serverLabel: map[string]string{"app": "server"}}
	for _, namespace := range []*string{&p.clients, &p.servers} {
		name, remove, err := scratch(ctx, c, "ashlar-verify-net-")
		if err != nil {
			return nil, err
		}
		defer remove()
		*namespace = name
	}
	if err := p.start(ctx, t); err != nil {
		return nil, err
	}
	// First everything is open: who is refused later would be heard.
	for _, namespace := range []string{p.clients, p.servers} {
		if err := p.apply(ctx, namespace, allowAll()); err != nil {
			return nil, err
		}
	}
	open, err := p.compare(ctx, t, "everything is allowed", func(cell) bool { return true })
	if err != nil || slices.ContainsFunc(open, func(e Evidence) bool { return !e.Held() }) {
		return open, err
	}
	for namespace, policy := range map[string]*networkingv1.NetworkPolicy{p.clients: p.egress(), p.servers: p.ingress()} {
		if err := p.apply(ctx, namespace, policy); err != nil {
			return nil, err
		}
	}
	declared, err := p.compare(ctx, t, "only the web port is declared", func(c cell) bool {
		return c.from.Namespace == p.clients && c.to.Namespace == p.servers && c.port == portWeb
	})
	return append(open, declared...), err
}

// start runs a client and a server on every node.
func (p *peers) start(ctx context.Context, t *Target) error {
	image, err := t.probeImage()
	if err != nil {
		return err
	}
	if err := t.importImage(ctx, image); err != nil {
		return err
	}
	for _, namespace := range []string{p.clients, p.servers} {
		// Their own: the default one comes in its own time.
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: probeAccount}}
		if _, err := p.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make ServiceAccount %s/%s: %w", namespace, probeAccount, err)
		}
	}
	workers := t.Desired.WithRole(v1alpha1.RoleWorker)
	p.pods = make([]*corev1.Pod, 2*len(workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		for j, namespace := range []string{p.clients, p.servers} {
			labels := []map[string]string{p.clientLabel, p.serverLabel}[j]
			g.Go(func() error {
				name := labels["app"] + "-" + w.Name
				pod := probePod(image.Reference, name, w.Name, labels, "serve", fmt.Sprintf(":%d", portWeb), fmt.Sprintf(":%d", portElse))
				if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					return fmt.Errorf("make pod %s/%s: %w", namespace, name, err)
				}
				running, err := started(ctx, p.client, namespace, name)
				p.pods[2*i+j] = running
				return err
			})
		}
	}
	return g.Wait()
}

// apply makes or replaces the one policy that the attack has in a namespace.
func (p *peers) apply(ctx context.Context, namespace string, policy *networkingv1.NetworkPolicy) error {
	policies := p.client.NetworkingV1().NetworkPolicies(namespace)
	policy.Name = "verify"
	if _, err := policies.Get(ctx, policy.Name, metav1.GetOptions{}); err == nil {
		_, err = policies.Update(ctx, policy, metav1.UpdateOptions{})
		return err
	}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make a NetworkPolicy in %s: %w", namespace, err)
	}
	return nil
}

var bothWays = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}

func allowAll() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PolicyTypes: bothWays,
		Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, Egress: []networkingv1.NetworkPolicyEgressRule{{}}}}
}

// egress lets pods of the clients' namespace reach the servers' web port, and nothing reach them.
func (p *peers) egress() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PolicyTypes: bothWays,
		Egress: []networkingv1.NetworkPolicyEgressRule{{To: peer(p.servers, p.serverLabel), Ports: webPort()}}}}
}

// ingress lets the clients reach the web port of pods of the servers' namespace, which reach nothing themselves.
func (p *peers) ingress() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PolicyTypes: bothWays,
		Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peer(p.clients, p.clientLabel), Ports: webPort()}}}}
}

func peer(namespace string, labels map[string]string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: labels},
	}}
}

func webPort() []networkingv1.NetworkPolicyPort {
	tcp, port := corev1.ProtocolTCP, intstr.FromInt32(portWeb)
	return []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &port}}
}

// compare holds what is declared against what a simulation of the cluster's own policies says, and against what pods
// really reach, cell by cell. Enforcement is given a moment to be in force on every node.
func (p *peers) compare(ctx context.Context, t *Target, when string, declared func(cell) bool) ([]Evidence, error) {
	matrix := p.matrix()
	simulated, err := p.simulate(ctx, matrix, declared)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(enforcedWithin)
	for {
		observed, err := p.observe(ctx, t, matrix)
		if err != nil {
			return nil, err
		}
		evidence, same := cells(when, matrix, observed, declared)
		if same || time.Now().After(deadline) {
			return append(evidence, simulated), nil
		}
	}
}

// simulate decides every cell from the policies that the API has.
func (p *peers) simulate(ctx context.Context, matrix []cell, declared func(cell) bool) (Evidence, error) {
	e := Evidence{Attempt: "simulate the matrix from the policies in the API", From: "operator", As: "admin", Want: Allowed, Got: Allowed}
	var policies []networkingv1.NetworkPolicy
	for _, namespace := range []string{p.clients, p.servers} {
		list, err := p.client.NetworkingV1().NetworkPolicies(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return e, fmt.Errorf("list the NetworkPolicies of %s: %w", namespace, err)
		}
		policies = append(policies, list.Items...)
	}
	e.Answer = fmt.Sprintf("%d cells, all as declared", len(matrix))
	for _, c := range matrix {
		ok, why, err := network.Allowed(policies, simulatedPeer(c.from), simulatedPeer(c.to), network.Port{Protocol: corev1.ProtocolTCP, Number: c.port})
		if err != nil {
			return e, err
		}
		if ok != declared(c) {
			e.Got, e.Answer = Refused, fmt.Sprintf("%s to %s:%d is not as declared: %s", c.from.Name, c.to.Name, c.port, why)
		}
	}
	return e, nil
}

func simulatedPeer(pod *corev1.Pod) network.Peer {
	address, _ := netip.ParseAddr(pod.Status.PodIP) // the API has checked it
	return network.Peer{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels, Address: address,
		NamespaceLabels: map[string]string{corev1.LabelMetadataName: pod.Namespace}}
}

// matrix is every ordered pair of pods, with each port; the cells of one row follow each other, in the order of pods.
func (p *peers) matrix() []cell {
	var out []cell
	for _, from := range p.pods {
		for _, to := range p.pods {
			if from != to {
				out = append(out, cell{from, to, portWeb}, cell{from, to, portElse})
			}
		}
	}
	return out
}

// observe has every pod try its row of the matrix, all at the same time, and returns the outcomes in its order.
func (p *peers) observe(ctx context.Context, t *Target, matrix []cell) ([]Reached, error) {
	rows := make([][]Reached, len(p.pods))
	g, ctx := errgroup.WithContext(ctx)
	for i, pod := range p.pods {
		g.Go(func() (err error) {
			var addresses []string
			for _, c := range matrix {
				if c.from == pod {
					addresses = append(addresses, net.JoinHostPort(c.to.Status.PodIP, strconv.Itoa(int(c.port))))
				}
			}
			rows[i], err = t.connectFrom(ctx, p.client, pod, addresses)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(rows...), err
}

// cells makes evidence of what was observed, and says whether all of it is as declared.
func cells(when string, matrix []cell, observed []Reached, declared func(cell) bool) ([]Evidence, bool) {
	var out []Evidence
	same := true
	for i, c := range matrix {
		e := Evidence{Attempt: fmt.Sprintf("connect to %s:%d while %s", c.to.Name, c.port, when), From: c.from.Spec.NodeName,
			As: "pod " + c.from.Name, Want: Refused, Got: Allowed, Answer: "greeted"}
		if declared(c) {
			e.Want = Allowed
		}
		if observed[i].Refusal != "" {
			e.Got, e.Answer = Refused, observed[i].Refusal
		}
		same = same && e.Held()
		out = append(out, e)
	}
	return out, same
}

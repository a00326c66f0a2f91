package claim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/observe"
)

var netPolicy = Claim{
	ID:   "net-policy",
	Says: "The Toolkit uses Calico to translate the NetworkPolicy resources into iptables rules, that get applied to every host node on the cluster",
	Holds: "on every pair of nodes, what pods and machines reach of each other is what policies declare, as simulated: by TCP, UDP and SCTP, at pods, " +
		"Services and machines",
	Probe: probeNetworkPolicy,
}

// enforcedWithin is how long a policy may take to be in force everywhere.
const enforcedWithin = 10 * time.Second

// peers are the pods of the attack: on each node a client and a server, in two namespaces.
type peers struct {
	client           kubernetes.Interface
	pods             []*corev1.Pod
	clients, servers string // namespaces
	excepted         netip.Addr
}

// The pods' labels, and what is connected to.
var (
	clientLabel, serverLabel = map[string]string{"app": "client"}, map[string]string{"app": "server"}

	portWeb      = network.Port{Protocol: corev1.ProtocolTCP, Number: 8080} // named in the servers
	portElse     = network.Port{Protocol: corev1.ProtocolTCP, Number: 8081}
	portFirst    = network.Port{Protocol: corev1.ProtocolTCP, Number: 8090} // of a range
	portLast     = network.Port{Protocol: corev1.ProtocolTCP, Number: 8095}
	portBeyond   = network.Port{Protocol: corev1.ProtocolTCP, Number: 8096}
	portUDP      = network.Port{Protocol: corev1.ProtocolUDP, Number: 8080}
	portUDPElse  = network.Port{Protocol: corev1.ProtocolUDP, Number: 8081}
	portSCTP     = network.Port{Protocol: corev1.ProtocolSCTP, Number: 8080}
	portSCTPElse = network.Port{Protocol: corev1.ProtocolSCTP, Number: 8081}
	portsOfPods  = []network.Port{portWeb, portElse, portFirst, portLast, portBeyond, portUDP, portUDPElse, portSCTP, portSCTPElse}
	portOfNode   = network.Port{Protocol: corev1.ProtocolTCP, Number: 10250}
	portsDeclare = []network.Port{portWeb, portFirst, portLast, portUDP, portSCTP} // clients to servers
)

// stage is a set of policies, and what they declare between pods of the attack.
type stage struct {
	when             string
	clients, servers networkingv1.NetworkPolicySpec
	declared         func(from, to network.Peer, port network.Port) bool
}

func probeNetworkPolicy(ctx context.Context, t *Target) ([]Evidence, error) {
	c, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	p := &peers{client: c}
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
	var all []Evidence
	for i, s := range p.stages(t.Desired.PodCIDR) {
		for namespace, spec := range map[string]networkingv1.NetworkPolicySpec{p.clients: s.clients, p.servers: s.servers} {
			if err := p.apply(ctx, namespace, spec); err != nil {
				return all, err
			}
		}
		found, err := p.compare(ctx, t, s)
		all = append(all, found...)
		// First everything is open: who is refused later would be heard.
		if err != nil || i == 0 && slices.ContainsFunc(found, failed) {
			return all, err
		}
	}
	return all, nil
}

// start runs a client and a server on every node, and a Service of the servers.
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
	g.Go(func() error {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "server"}, Spec: corev1.ServiceSpec{Selector: serverLabel, PublishNotReadyAddresses: true,
			Ports: []corev1.ServicePort{{Name: "web", Port: portWeb.Number}, {Name: "else", Port: portElse.Number}}}}
		_, err := p.client.CoreV1().Services(p.servers).Create(ctx, s, metav1.CreateOptions{})
		return err
	})
	for i, w := range workers {
		for j, namespace := range []string{p.clients, p.servers} {
			labels := []map[string]string{clientLabel, serverLabel}[j]
			g.Go(func() error {
				name := labels["app"] + "-" + w.Name
				pod := probePod(image.Reference, name, w.Name, labels, "serve", fmt.Sprintf(":%d", portWeb.Number), fmt.Sprintf(":%d", portElse.Number))
				pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: portWeb.Number}}
				if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					return fmt.Errorf("make pod %s/%s: %w", namespace, name, err)
				}
				running, err := started(ctx, p.client, namespace, name)
				p.pods[2*i+j] = running
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.excepted, err = netip.ParseAddr(p.pods[len(p.pods)-2].Status.PodIP) // the last node's client
	return err
}

// apply makes or replaces the one policy that the attack has in a namespace.
func (p *peers) apply(ctx context.Context, namespace string, spec networkingv1.NetworkPolicySpec) error {
	policies := p.client.NetworkingV1().NetworkPolicies(namespace)
	spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "verify"}, Spec: spec}
	if _, err := policies.Get(ctx, policy.Name, metav1.GetOptions{}); err == nil {
		_, err = policies.Update(ctx, policy, metav1.UpdateOptions{})
		return err
	}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make a NetworkPolicy in %s: %w", namespace, err)
	}
	return nil
}

// compare holds what is declared against what a simulation of everything in the cluster says, and against what packets really
// reach, cell by cell. Enforcement is given a moment to be in force on every node.
func (p *peers) compare(ctx context.Context, t *Target, s stage) ([]Evidence, error) {
	deadline := time.Now().Add(enforcedWithin)
	for {
		n, err := t.Network(ctx)
		if err != nil {
			return nil, err
		}
		survey := &observe.Survey{Connections: p.connections(n.Inventory)}
		if err := n.Simulate(survey); err != nil {
			return nil, err
		}
		if err := n.Observe(ctx, survey); err != nil {
			return nil, err
		}
		evidence := p.cells(survey, s, &n.Declared)
		if !slices.ContainsFunc(evidence, failed) || time.Now().After(deadline) {
			return evidence, nil
		}
	}
}

package claim

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

var netDefault = Claim{
	ID:    "net-default",
	Says:  "By default Kubernetes enforces no Network Isolation between different Pods in a cluster",
	Holds: "pods reach nothing but DNS, and nobody reaches them, unless it is declared; and no policy of theirs opens the machines",
	Probe: probeNetworkDefault,
}

// sides are three namespaces that differ in what their users allow: nothing; to go out everywhere; to be reached by all. What
// passes needs both ends.
type sides struct {
	*isolation
	plain, out, in string
	pods           []*corev1.Pod
	services       map[string]string // address by namespace
}

func probeNetworkDefault(ctx context.Context, t *Target) ([]Evidence, error) {
	i, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	s := &sides{isolation: i, services: map[string]string{}}
	for _, side := range []struct {
		name     *string
		policies []networkingv1.NetworkPolicySpec
	}{{&s.plain, nil}, {&s.out, []networkingv1.NetworkPolicySpec{everywhere(networkingv1.PolicyTypeEgress)}},
		{&s.in, []networkingv1.NetworkPolicySpec{everywhere(networkingv1.PolicyTypeIngress)}}} {
		name, remove, err := s.namespace(ctx, side.policies...)
		if err != nil {
			return nil, err
		}
		defer remove()
		*side.name = name
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	says, err := s.fileSays(ctx)
	if err != nil {
		return nil, err
	}
	return s.settle(ctx, s.contacts(says))
}

// start runs a pod of each side on every node, and a Service for each side that might be reached.
func (s *sides) start(ctx context.Context) error {
	for _, namespace := range []string{s.plain, s.in} {
		service, err := s.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "server"},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "isolation"},
				Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(isolationPort)}}}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("make a Service in %s: %w", namespace, err)
		}
		s.services[namespace] = net.JoinHostPort(service.Spec.ClusterIP, "80")
	}
	workers := s.Desired.WithRole(v1alpha1.RoleWorker)
	sides := []struct{ namespace, name string }{{s.plain, "plain"}, {s.out, "out"}, {s.in, "in"}}
	s.pods = make([]*corev1.Pod, len(sides)*len(workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		for j, side := range sides {
			g.Go(func() (err error) {
				s.pods[len(sides)*i+j], err = s.pod(ctx, side.namespace, side.name+"-"+w.Name, w.Name, map[string]string{"app": "isolation"})
				return err
			})
		}
	}
	return g.Wait()
}

// contacts are every pod to every other, to Services, to machines and to DNS; and machines to pods. What is allowed is what the
// namespaces' own policies allow together, and what the file does of all.
func (s *sides) contacts(says *fileSays) []contact {
	var all []contact
	add := func(from *corev1.Pod, what, address string, allowed bool) {
		all = append(all, contact{what: what, from: from, address: address, want: expected(allowed)})
	}
	out := func(p *corev1.Pod) bool { return p.Namespace == s.out || says.open(p) }
	in := func(p *corev1.Pod) bool { return p.Namespace == s.in || says.open(p) }
	meets := func(from, to *corev1.Pod) bool {
		return out(from) && in(to) || says.declared.Ruled(says.pod(from), says.pod(to), tcp(isolationPort))
	}
	for _, from := range s.pods {
		for _, to := range s.pods {
			if from != to {
				add(from, "connect to pod "+to.Name, s.at(to), meets(from, to))
			}
		}
		for namespace, address := range s.services {
			// Those behind it are all alike.
			behind := s.pods[slices.IndexFunc(s.pods, func(p *corev1.Pod) bool { return p.Namespace == namespace })]
			add(from, "connect to the Service of "+namespace, address, meets(from, behind))
		}
		add(from, "connect to DNS", net.JoinHostPort(s.Desired.DNSServiceIP().String(), "53"), true)
		for _, m := range s.Desired.Machines {
			if port := doors[m.Role]; port != 0 {
				add(from, fmt.Sprintf("connect to %s:%d", m.Name, port), net.JoinHostPort(m.Address.String(), strconv.Itoa(port)),
					m.Role == v1alpha1.RoleLB && (out(from) || says.declared.Ruled(says.pod(from), at(m.Name, m.Address), tcp(port))))
			}
		}
	}
	for _, w := range s.Desired.WithRole(v1alpha1.RoleWorker) {
		for _, to := range s.pods {
			// A kubelet must reach its own pods. It shows that they are there, too.
			may := in(to) || to.Spec.NodeName == w.Name || says.declared.Ruled(says.machines[w.Name], says.pod(to), tcp(isolationPort))
			all = append(all, contact{what: "connect to pod " + to.Name, machine: w.Name, address: s.at(to), want: expected(may)})
		}
	}
	return all
}

// doors are ports that workers themselves may reach on other machines, and so their pods, if nothing kept them.
var doors = map[v1alpha1.Role]int{
	v1alpha1.RoleVault: unit.PortVault, v1alpha1.RoleEtcd: unit.EtcdClusters[2].ClientPort,
	v1alpha1.RoleLB: unit.PortAPIServer, v1alpha1.RoleWorker: unit.PortKubelet,
}

func (s *sides) at(pod *corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(isolationPort))
}

package observe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/unit"
)

// Live reads from the API what there is, and the NetworkPolicies about it. Machines are the cluster's, with their tunnels.
func Live(ctx context.Context, c kubernetes.Interface, machines []network.Peer) (*network.Inventory, []networkingv1.NetworkPolicy, error) {
	var (
		pods       *corev1.PodList
		namespaces *corev1.NamespaceList
		services   *corev1.ServiceList
		slices     *discoveryv1.EndpointSliceList
		policies   *networkingv1.NetworkPolicyList
	)
	g, ctx := errgroup.WithContext(ctx)
	all, everywhere := metav1.ListOptions{}, metav1.NamespaceAll
	read := func(what string, f func() error) {
		g.Go(func() error {
			if err := f(); err != nil {
				return fmt.Errorf("list the cluster's %s: %w", what, err)
			}
			return nil
		})
	}
	read("pods", func() (err error) { pods, err = c.CoreV1().Pods(everywhere).List(ctx, all); return err })
	read("namespaces", func() (err error) { namespaces, err = c.CoreV1().Namespaces().List(ctx, all); return err })
	read("Services", func() (err error) { services, err = c.CoreV1().Services(everywhere).List(ctx, all); return err })
	read("EndpointSlices", func() (err error) {
		slices, err = c.DiscoveryV1().EndpointSlices(everywhere).List(ctx, all)
		return err
	})
	read("NetworkPolicies", func() (err error) {
		policies, err = c.NetworkingV1().NetworkPolicies(everywhere).List(ctx, all)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	in := &network.Inventory{Namespaces: map[string]map[string]string{}, Machines: machines}
	for _, n := range namespaces.Items {
		in.Namespaces[n.Name] = n.Labels
	}
	for i := range pods.Items {
		if p, ok := Pod(&pods.Items[i], in.Namespaces, machines); ok {
			in.Pods = append(in.Pods, p)
		}
	}
	for i := range services.Items {
		in.Services = append(in.Services, service(&services.Items[i], slices.Items))
	}
	return in, policies.Items, nil
}

// Pod is a pod that runs; others have no network.
func Pod(p *corev1.Pod, namespaces map[string]map[string]string, machines []network.Peer) (network.Pod, bool) {
	address, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
		return network.Pod{}, false
	}
	out := network.Pod{Owner: network.KindPod, Peer: network.Peer{
		Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, NamespaceLabels: namespaces[p.Namespace],
		Address: address, Machine: p.Spec.NodeName, Role: v1alpha1.RoleWorker, Ports: map[string]int32{},
	}}
	for _, m := range machines {
		if m.Machine == p.Spec.NodeName {
			out.MachineAddress = m.Address
			if p.Spec.HostNetwork {
				// No policy tells it from its machine.
				out.Peer = m
				out.Name = p.Namespace + "/" + p.Name
				return out, true
			}
		}
	}
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name != "" {
				out.Ports[port.Name] = port.ContainerPort
			}
			out.Listen = append(out.Listen, network.Port{Protocol: port.Protocol, Number: port.ContainerPort})
		}
	}
	if o := metav1.GetControllerOf(p); o != nil {
		out.Owner, out.Of = network.Kind(o.Kind), o.Name
		if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			out.Owner, out.Of = "Deployment", strings.TrimSuffix(o.Name, "-"+hash)
		}
	}
	return out, true
}

// service has its ports with those who are ready to answer there.
func service(s *corev1.Service, slices []discoveryv1.EndpointSlice) network.Service {
	out := network.Service{Namespace: s.Namespace, Name: s.Name}
	out.Address, _ = netip.ParseAddr(s.Spec.ClusterIP) // headless: none
	for _, port := range s.Spec.Ports {
		sp := network.ServicePort{Port: network.Port{Protocol: port.Protocol, Number: port.Port}}
		for i := range slices {
			if slices[i].Namespace == s.Namespace && slices[i].Labels[discoveryv1.LabelServiceName] == s.Name {
				sp.Backends = append(sp.Backends, backends(&slices[i], port.Name)...)
			}
		}
		out.Ports = append(out.Ports, sp)
	}
	return out
}

func backends(s *discoveryv1.EndpointSlice, portName string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range s.Ports {
		if p.Port == nil || p.Name != nil && *p.Name != portName {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					out = append(out, netip.AddrPortFrom(a, uint16(*p.Port)))
				}
			}
		}
	}
	return out
}

// Peers are machines as ends of connections. Workers have their address within the pods' network, where it is known.
func Peers(ctx context.Context, machines Machines, all []unit.Machine) []network.Peer {
	out := make([]network.Peer, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, m := range all {
		out[i] = network.Peer{Name: m.Name, Machine: m.Name, Role: m.Role, Address: m.Address}
		if m.Role == v1alpha1.RoleWorker {
			g.Go(func() error {
				// A worker that does not answer is one that no connection comes from.
				out[i].Tunnel, _ = Tunnel(ctx, machines, m.Name)
				return nil
			})
		}
	}
	_ = g.Wait()
	return out
}

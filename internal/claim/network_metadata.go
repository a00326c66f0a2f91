package claim

import (
	"context"
	"errors"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	podclass "ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/provider"
)

var netMetadata = Claim{
	ID:    "net-metadata",
	Says:  "A Pod's network access should be as limited as possible",
	Holds: "no pod reaches 169.254.169.254 but those that are declared, not by hostNetwork, and not by policies of its own",
	Probe: probeNetworkMetadata,
}

func probeNetworkMetadata(ctx context.Context, t *Target) (found []Evidence, err error) {
	s, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(network.Metadata.Addr().String(), "80")
	_, stop, err := s.serveMirror(ctx, provider.FromOperator, address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	namespace, remove, err := s.namespace(ctx, everywhere(networkingv1.PolicyTypeEgress))
	if err != nil {
		return nil, err
	}
	defer remove()
	// Only there may a pod have its machine's network.
	if err := grant(ctx, s.client, namespace, podclass.Privileged); err != nil {
		return nil, err
	}
	fromHosts := expected(s.Spec.Spec.Network.Policy.MetadataFromHosts)
	what := "connect to " + address
	var contacts []contact
	var all []wanted
	for i, m := range s.Desired.Machines {
		if m.Role == v1alpha1.RoleControlPlane { // it is there
			contacts = append(contacts, contact{what: what, machine: m.Name, address: address, want: Allowed})
		}
		if m.Role != v1alpha1.RoleWorker {
			continue
		}
		all = append(all, wanted{name: "pod-" + m.Name, node: m.Name}, wanted{name: "host-" + m.Name, node: m.Name, change: func(p *corev1.Pod) {
			metav1.SetMetaDataLabel(&p.ObjectMeta, podclass.LabelClass, podclass.Privileged)
			p.Spec.HostNetwork = true
			p.Spec.Containers[0].Args = []string{"probe", "serve", fmt.Sprintf("127.0.0.1:%d", 18080+i)}
		}})
		contacts = append(contacts, contact{what: what, machine: m.Name, address: address, want: fromHosts})
	}
	pods, err := s.pods(ctx, namespace, all)
	if err != nil {
		return nil, err
	}
	for i, p := range anywhere(s.Spec.Spec.Network.Policy.Metadata) {
		declared, remove, err := s.declaredPods(ctx, i, p)
		if err != nil {
			return nil, err
		}
		defer remove()
		pods = append(pods, declared...)
	}
	says, err := s.fileSays(ctx)
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		if pod.Spec.HostNetwork {
			contacts = append(contacts, contact{what: what + " by hostNetwork", from: pod, address: address, want: fromHosts})
		} else {
			contacts = append(contacts, contact{what: what, from: pod, address: address, want: expected(says.metadata(pod))})
		}
	}
	return s.settle(ctx, contacts)
}

// declaredPods are on each worker one that the file means by its labels, and one beside it without these.
func (s *isolation) declaredPods(ctx context.Context, i int, p v1alpha1.NetworkPeer) ([]*corev1.Pod, func(), error) {
	namespace, remove, err := s.namespace(ctx, everywhere(networkingv1.PolicyTypeEgress))
	if err != nil {
		return nil, nil, err
	}
	var all []wanted
	for _, w := range s.Desired.WithRole(v1alpha1.RoleWorker) {
		all = append(all, wanted{name: fmt.Sprintf("declared-%d-%s", i, w.Name), node: w.Name, labels: p.PodLabels})
		if len(p.PodLabels) > 0 {
			all = append(all, wanted{name: fmt.Sprintf("beside-%d-%s", i, w.Name), node: w.Name})
		}
	}
	var pods []*corev1.Pod
	if err = s.label(ctx, namespace, p.NamespaceLabels); err == nil {
		pods, err = s.pods(ctx, namespace, all)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return pods, remove, nil
}

package claim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

// fileSays is what the cluster's file declares of the pods of an attack: rules for every namespace mean theirs, too.
type fileSays struct {
	declared *network.Declaration
	pods     map[string]network.Peer // by namespace and name
	machines map[string]network.Peer // by name
}

// fileSays reads what there is. The attack's pods must run.
func (s *isolation) fileSays(ctx context.Context) (*fileSays, error) {
	n, err := s.Network(ctx)
	if err != nil {
		return nil, err
	}
	return newFileSays(&n.Declared, n.Inventory), nil
}

func newFileSays(declared *network.Declaration, in *network.Inventory) *fileSays {
	f := &fileSays{declared: declared, pods: map[string]network.Peer{}, machines: map[string]network.Peer{}}
	for _, p := range in.Pods {
		f.pods[p.Namespace+"/"+p.Name] = p.Peer
	}
	for _, m := range in.Machines {
		f.machines[m.Name] = m
	}
	return f
}

func (f *fileSays) pod(p *corev1.Pod) network.Peer { return f.pods[p.Namespace+"/"+p.Name] }

// open says whether a pod is in a namespace that is declared open.
func (f *fileSays) open(p *corev1.Pod) bool {
	return f.declared.Policy.Opens(p.Namespace, f.pod(p).NamespaceLabels)
}

func tcp(port int) network.Port {
	return network.Port{Protocol: corev1.ProtocolTCP, Number: int32(port)}
}

// metadata says whether a pod may reach the metadata address.
func (f *fileSays) metadata(p *corev1.Pod) bool {
	ok, _ := f.declared.Allows(f.pod(p), network.Peer{Name: "metadata", Address: network.Metadata.Addr()}, tcp(80))
	return ok
}

// expected is what must come of something that is allowed, or is not.
func expected(allowed bool) Expectation {
	if allowed {
		return Allowed
	}
	return Refused
}

// anywhere are those of some declared pods that an attack can make some of: not those of a namespace that is somebody's.
func anywhere(peers []v1alpha1.NetworkPeer) []v1alpha1.NetworkPeer {
	return slices.DeleteFunc(slices.Clone(peers), func(p v1alpha1.NetworkPeer) bool {
		_, one := p.NamespaceLabels[corev1.LabelMetadataName]
		return one || p.Namespace != "" && p.Namespace != v1alpha1.EveryNamespace
	})
}

// label adds labels to a namespace of the attack's own.
func (s *isolation) label(ctx context.Context, namespace string, labels map[string]string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	if _, err = s.client.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label namespace %s: %w", namespace, err)
	}
	return nil
}

// at is an end outside of pods.
func at(name string, address netip.Addr) network.Peer {
	return network.Peer{Name: name, Address: address}
}

package claim

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// What the claims about isolation share: namespaces of their own, each with pods and one NetworkPolicy or none.

// isolationPort is what their pods serve.
const isolationPort = 8080

// isolation is the namespaces of one attack.
type isolation struct {
	*Target
	client kubernetes.Interface
	image  string
}

func isolate(ctx context.Context, t *Target) (*isolation, error) {
	c, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	image, err := t.probeImage()
	if err != nil {
		return nil, err
	}
	return &isolation{Target: t, client: c, image: image.Reference}, t.importImage(ctx, image)
}

// namespace makes one, with a policy if there is any, and what its pods need.
func (s *isolation) namespace(ctx context.Context, policies ...networkingv1.NetworkPolicySpec) (string, func(), error) {
	name, remove, err := scratch(ctx, s.client, "ashlar-verify-isolation-")
	if err != nil {
		return "", nil, err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: probeAccount}}
	if _, err = s.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		err = fmt.Errorf("make ServiceAccount %s/%s: %w", name, probeAccount, err)
	}
	for i, spec := range policies {
		if err != nil {
			break
		}
		np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("verify-%d", i)}, Spec: spec}
		if _, err = s.client.NetworkingV1().NetworkPolicies(name).Create(ctx, np, metav1.CreateOptions{}); err != nil {
			err = fmt.Errorf("make a NetworkPolicy in %s: %w", name, err)
		}
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return name, remove, nil
}

// pod starts one that serves isolationPort.
func (s *isolation) pod(ctx context.Context, namespace, name, node string, labels map[string]string, change ...func(*corev1.Pod)) (*corev1.Pod, error) {
	pod := probePod(s.image, name, node, labels, "serve", fmt.Sprintf(":%d", isolationPort))
	for _, f := range change {
		f(pod)
	}
	if _, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("make pod %s/%s: %w", namespace, name, err)
	}
	return started(ctx, s.client, namespace, name)
}

// wanted is a pod to start.
type wanted struct {
	name, node string
	labels     map[string]string
	change     func(*corev1.Pod)
}

// pods starts several at once, and returns them in their order.
func (s *isolation) pods(ctx context.Context, namespace string, all []wanted) ([]*corev1.Pod, error) {
	out := make([]*corev1.Pod, len(all))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range all {
		g.Go(func() (err error) {
			var change []func(*corev1.Pod)
			if w.change != nil {
				change = append(change, w.change)
			}
			out[i], err = s.pod(ctx, namespace, w.name, w.node, w.labels, change...)
			return err
		})
	}
	return out, g.Wait()
}

// contact is one connection: from a pod, or from a machine.
type contact struct {
	what    string
	from    *corev1.Pod
	machine string
	address string
	want    Expectation
}

// settle tries all, each pod its own at once, until they are as they must be or policy has had its time.
func (s *isolation) settle(ctx context.Context, contacts []contact) ([]Evidence, error) {
	deadline := s.Now().Add(enforcedWithin)
	for {
		evidence, err := s.try(ctx, contacts)
		if err != nil || !slices.ContainsFunc(evidence, failed) || s.Now().After(deadline) {
			return evidence, err
		}
	}
}

func (s *isolation) try(ctx context.Context, contacts []contact) ([]Evidence, error) {
	out := make([]Evidence, len(contacts))
	rows := map[*corev1.Pod][]int{}
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range contacts {
		if c.from != nil {
			rows[c.from] = append(rows[c.from], i)
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err := s.Provider.Dial(ctx, c.machine, "tcp", c.address)
			if err == nil {
				err = conn.Close()
			}
			out[i] = attempt(c.what, c.machine, "the machine", c.want, err)
			return nil
		})
	}
	for pod, row := range rows {
		g.Go(func() error {
			var addresses []string
			for _, i := range row {
				addresses = append(addresses, contacts[i].address)
			}
			reached, err := s.connectFrom(ctx, s.client, pod, addresses)
			if err != nil {
				return err
			}
			for j, i := range row {
				e := Evidence{Attempt: contacts[i].what, From: pod.Spec.NodeName, As: "pod " + pod.Name, Want: contacts[i].want, Got: Refused, Answer: reached[j].Refusal}
				if reached[j].Connected {
					e.Got, e.Answer = Allowed, "connected"
				}
				out[i] = e
			}
			return nil
		})
	}
	return out, g.Wait()
}

// everywhere opens a direction, as far as users can.
func everywhere(way networkingv1.PolicyType) networkingv1.NetworkPolicySpec {
	spec := networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{way}}
	if way == networkingv1.PolicyTypeIngress {
		spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	} else {
		spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
	}
	return spec
}

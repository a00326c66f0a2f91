package network

import (
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Notes name what is legal in a policy but hardly meant: namespaces and named ports that do not exist, selectors that nothing can match.
func Notes(in *Inventory, policies []networkingv1.NetworkPolicy, declared v1alpha1.NetworkPolicy) []string {
	var out []string
	for _, r := range declared.Rules {
		for _, end := range []struct {
			name string
			peer v1alpha1.NetworkPeer
		}{{"from", r.From}, {"to", r.To}} {
			if ns := end.peer.Namespace; ns != "" && ns != v1alpha1.EveryNamespace && in.Namespaces[ns] == nil {
				out = append(out, fmt.Sprintf("spec.network.policy, rule %s: %s: there is no namespace %q", r.Name, end.name, ns))
			}
		}
	}
	for _, o := range declared.Open {
		if o.Namespace != "" && in.Namespaces[o.Namespace] == nil {
			out = append(out, fmt.Sprintf("spec.network.policy: open: there is no namespace %q", o.Namespace))
		}
	}
	for i := range policies {
		out = append(out, policyNotes(in, &policies[i])...)
	}
	return out
}

func policyNotes(in *Inventory, p *networkingv1.NetworkPolicy) []string {
	var out []string
	note := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("NetworkPolicy %s/%s: ", p.Namespace, p.Name)+fmt.Sprintf(format, args...))
	}
	if impossible(&p.Spec.PodSelector) {
		note("podSelector can match no pod")
	}
	for way, name := range map[networkingv1.PolicyType]string{networkingv1.PolicyTypeEgress: "egress", networkingv1.PolicyTypeIngress: "ingress"} {
		for n, r := range rulesOf(p, way) {
			for _, peer := range r.peers {
				for _, s := range []*metav1.LabelSelector{peer.PodSelector, peer.NamespaceSelector} {
					if s != nil && impossible(s) {
						note("rule %d of %s has a selector that nothing can match", n+1, name)
					}
				}
				if s := peer.NamespaceSelector; s != nil && !impossible(s) && !selectsNamespace(in, s) {
					note("rule %d of %s names no namespace that there is", n+1, name)
				}
			}
			for _, port := range r.ports {
				if port.Port != nil && port.Port.StrVal != "" && !slices.ContainsFunc(in.Pods, func(pod Pod) bool { _, ok := pod.Ports[port.Port.StrVal]; return ok }) {
					note("rule %d of %s: no pod has a port named %q", n+1, name, port.Port.StrVal)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func selectsNamespace(in *Inventory, s *metav1.LabelSelector) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false
	}
	for _, l := range in.Namespaces {
		if selector.Matches(labels.Set(l)) {
			return true
		}
	}
	return false
}

// impossible says that no labels whatever match: a key that must both be there and not, or have two values.
func impossible(s *metav1.LabelSelector) bool {
	possible := map[string][]string{} // the values that are left, of keys that must be there
	absent := map[string]bool{}
	must := func(key string, values []string) {
		have, ok := possible[key]
		if !ok {
			possible[key] = values
			return
		}
		if have == nil {
			possible[key] = values
		} else if values != nil {
			possible[key] = slices.DeleteFunc(slices.Clone(have), func(v string) bool { return !slices.Contains(values, v) })
		}
	}
	for k, v := range s.MatchLabels {
		must(k, []string{v})
	}
	for _, e := range s.MatchExpressions {
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			must(e.Key, e.Values)
		case metav1.LabelSelectorOpExists:
			must(e.Key, nil)
		case metav1.LabelSelectorOpDoesNotExist:
			absent[e.Key] = true
		}
	}
	for _, e := range s.MatchExpressions {
		if have := possible[e.Key]; e.Operator == metav1.LabelSelectorOpNotIn && have != nil {
			possible[e.Key] = slices.DeleteFunc(slices.Clone(have), func(v string) bool { return slices.Contains(e.Values, v) })
		}
	}
	for key, values := range possible {
		if absent[key] || values != nil && len(values) == 0 {
			return true
		}
	}
	return false
}

package phase

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Notice is what people are told beside what differs. Bad ones are as they were declared, and are said each time all the same.
type Notice struct {
	Text string
	Bad  bool
}

// Notices are those of the last `up` or `plan`.
func (c *Cluster) Notices() []Notice {
	var out []Notice
	for _, m := range c.LeftAlone() {
		out = append(out, Notice{Text: m + " is revoked, and left alone until it is made anew"})
	}
	for _, m := range c.Spec.Machines() {
		if m.Role.Public() && c.Spec.Spec.Exposure.ToEverybody() {
			out = append(out, Notice{Text: m.Name + ": " + ToEverybody, Bad: true})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, missing := range c.absent {
		out = append(out, Notice{Text: missing})
	}
	return out
}

// lookForNamespaces remembers which of those that the policy of pods names do not exist, or not yet: a rule may come first.
func (c *Cluster) lookForNamespaces(ctx context.Context) error {
	policy := c.Spec.Spec.Network.Policy
	named := namedNamespaces(policy)
	if len(named) == 0 {
		return nil
	}
	client, err := c.clientset(ctx)
	if err != nil {
		return err
	}
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	exists := map[string]bool{}
	for _, ns := range list.Items {
		exists[ns.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.absent = nil
	for _, n := range named {
		if !exists[n.name] {
			c.absent = append(c.absent, fmt.Sprintf("%s: there is no namespace %s yet", n.path, n.name))
		}
	}
	return nil
}

// namedNamespace is where a file names one.
type namedNamespace struct{ path, name string }

func namedNamespaces(p v1alpha1.NetworkPolicy) []namedNamespace {
	var out []namedNamespace
	add := func(path, name string) {
		if name != "" && name != v1alpha1.EveryNamespace {
			out = append(out, namedNamespace{"spec.network.policy." + path, name})
		}
	}
	for i, o := range p.Open {
		add(fmt.Sprintf("open[%d].namespace", i), o.Namespace)
	}
	for i, r := range p.Rules {
		add(fmt.Sprintf("rules[%d].from.namespace", i), r.From.Namespace)
		add(fmt.Sprintf("rules[%d].to.namespace", i), r.To.Namespace)
	}
	for i, m := range p.Metadata {
		add(fmt.Sprintf("metadata[%d].namespace", i), m.Namespace)
	}
	return out
}

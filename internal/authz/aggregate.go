package authz

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// aggregate returns the rules of each ClusterRole. Those with an aggregationRule have the rules of all that they
// select, also of selected ones that aggregate themselves; rules that are written in them are overwritten in a cluster.
func aggregate(roles []rbacv1.ClusterRole) (rules [][]rbacv1.PolicyRule, warnings []string, err error) {
	rules = make([][]rbacv1.PolicyRule, len(roles))
	selected := make([][]int, len(roles))
	for i, role := range roles {
		if role.AggregationRule == nil {
			rules[i] = role.Rules
			continue
		}
		if selected[i], err = selects(roles, i); err != nil {
			return nil, nil, err
		}
	}
	for changed := true; changed; {
		changed = false
		for i := range roles {
			for _, j := range selected[i] {
				changed = merge(&rules[i], rules[j]) || changed
			}
		}
	}
	for i, role := range roles {
		source := fmt.Sprintf("ClusterRole %q", role.Name)
		if role.AggregationRule != nil && len(missing(role.Rules, rules[i])) > 0 {
			warnings = append(warnings, source+": has rules that its aggregationRule does not select; a cluster overwrites them")
		}
		for _, w := range unmatchable(role.Rules) {
			warnings = append(warnings, source+": "+w)
		}
	}
	return rules, warnings, nil
}

// selects returns which other ClusterRoles one aggregates.
func selects(roles []rbacv1.ClusterRole, of int) ([]int, error) {
	var out []int
	for n := range roles[of].AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&roles[of].AggregationRule.ClusterRoleSelectors[n])
		if err != nil {
			return nil, fmt.Errorf("ClusterRole %q: aggregationRule.clusterRoleSelectors[%d]: %w", roles[of].Name, n, err)
		}
		for i := range roles {
			if i != of && !slices.Contains(out, i) && selector.Matches(labels.Set(roles[i].Labels)) {
				out = append(out, i)
			}
		}
	}
	return out, nil
}

// merge adds the rules that are not there yet, and says whether there were any.
func merge(into *[]rbacv1.PolicyRule, from []rbacv1.PolicyRule) bool {
	add := missing(from, *into)
	*into = append(*into, add...)
	return len(add) > 0
}

// missing are the rules that are not among others.
func missing(rules, among []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, r := range rules {
		if !slices.ContainsFunc(among, func(o rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(r, o) }) {
			out = append(out, r)
		}
	}
	return out
}

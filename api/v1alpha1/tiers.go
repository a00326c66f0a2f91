package v1alpha1

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

// TierStandard is the tier of each namespace that no other names.
const TierStandard = "standard"

// standard is it unless the file changes it: room for some hundred ordinary pods, of which none can take a machine. Who does not say
// what it needs of the CPU gets little where there is little: those who say it need not share that with it.
func standard() Tier {
	return Tier{
		Name: TierStandard,
		Quota: map[string]string{
			"pods": "200", "requests.cpu": "20", "requests.memory": "40Gi", "limits.cpu": "100", "limits.memory": "80Gi",
			"requests.ephemeral-storage": "100Gi", "limits.ephemeral-storage": "800Gi",
			"services": "200", "configmaps": "500", "secrets": "500", "persistentvolumeclaims": "100",
		},
		Requests: map[string]string{"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
		Limits:   map[string]string{"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "4Gi"},
	}
}

// StandardTier is the tier of namespaces that no other names, whole.
func (i Isolation) StandardTier() Tier {
	t := standard()
	if n := slices.IndexFunc(i.Tiers, func(t Tier) bool { return t.Name == TierStandard }); n >= 0 {
		t = t.but(i.Tiers[n])
	}
	return t.fit()
}

// TierOf is the tier of a namespace, whole: the first that names it, with all that it leaves out as in standard.
func (i Isolation) TierOf(namespace string, labels map[string]string) Tier {
	t := i.StandardTier()
	for _, declared := range i.Tiers {
		named := slices.ContainsFunc(declared.Namespaces, func(o OpenNamespaces) bool { return o.Has(namespace, labels) })
		if named && declared.Name != TierStandard {
			return t.but(declared).fit()
		}
		if named {
			break
		}
	}
	return t
}

// but is t with what another says.
func (t Tier) but(o Tier) Tier {
	over := func(a, b map[string]string) map[string]string {
		out := map[string]string{}
		maps.Copy(out, a)
		maps.Copy(out, b)
		return out
	}
	return Tier{Name: o.Name, Namespaces: o.Namespaces, Quota: over(t.Quota, o.Quota),
		Requests: over(t.Requests, o.Requests), Limits: over(t.Limits, o.Limits), Most: over(t.Most, o.Most)}
}

// fit makes a tier whole: whatever can be limited is, and nothing is more than the most, or requested beyond its limit.
func (t Tier) fit() Tier {
	within := func(values, bound map[string]string) map[string]string {
		out := maps.Clone(values)
		if out == nil {
			out = map[string]string{}
		}
		for name, most := range bound {
			if have, ok := out[name]; !ok || more(have, most) {
				out[name] = most
			}
		}
		return out
	}
	t.Limits = within(t.Limits, t.Most)
	t.Requests = within(t.Requests, t.Limits)
	return t
}

// more compares quantities; what is none is refused elsewhere.
func more(a, b string) bool {
	x, err1 := resource.ParseQuantity(a)
	y, err2 := resource.ParseQuantity(b)
	return err1 == nil && err2 == nil && x.Cmp(y) > 0
}

package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// The least that a machine runs with.
const (
	leastCPUs   = "100m"
	leastMemory = "256Mi"
)

func (e *Errors) localPool(path string, p Provider, l *LocalPool) {
	if l == nil {
		return
	}
	if p.Local == nil {
		e.add(path, "is for machines of provider local; leave it out")
		return
	}
	for _, f := range []struct{ name, value, least, as string }{{"cpus", l.CPUs, leastCPUs, "1500m or 2"}, {"memory", l.Memory, leastMemory, "4Gi"}} {
		if f.value == "" {
			continue
		}
		if q, err := resource.ParseQuantity(f.value); err != nil {
			e.add(path+"."+f.name, "must be a quantity such as %s, not %s", f.as, quote(f.value))
		} else if q.Cmp(resource.MustParse(f.least)) < 0 {
			e.add(path+"."+f.name, "must be at least %s, not %s", f.least, f.value)
		}
	}
}

// Size is the most that each machine of the pool may use, in thousandths of CPUs and in bytes; 0: all there is.
func (l *LocalPool) Size() (milliCPUs, memory int64) {
	if l == nil {
		return 0, 0
	}
	if q, err := resource.ParseQuantity(l.CPUs); err == nil {
		milliCPUs = q.MilliValue()
	}
	if q, err := resource.ParseQuantity(l.Memory); err == nil {
		memory = q.Value()
	}
	return milliCPUs, memory
}

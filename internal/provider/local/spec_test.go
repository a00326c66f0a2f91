package local

import "testing"

// A machine with a size may use no more; one without, all there is.
func TestResources(t *testing.T) {
	if r := (Size{}).resources(); r.CPU != nil || r.Memory != nil {
		t.Errorf("without a size: %+v %+v", r.CPU, r.Memory)
	}
	p := &Provider{Options: Options{Cluster: "demo", Sizes: map[string]Size{"worker-0": {MilliCPUs: 1500, Memory: 4 << 30}}}}
	r := p.machineSpec("worker-0", host{}).Linux.Resources
	if *r.CPU.Quota != 150_000 || *r.CPU.Period != 100_000 || *r.Memory.Limit != 4<<30 {
		t.Errorf("%d of %d, %d", *r.CPU.Quota, *r.CPU.Period, *r.Memory.Limit)
	}
	if r := p.machineSpec("worker-1", host{}).Linux.Resources; r.CPU != nil || r.Memory != nil {
		t.Errorf("another machine: %+v %+v", r.CPU, r.Memory)
	}
}

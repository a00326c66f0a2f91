package unit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// What holds pods to their ceilings.
const (
	// CeilingsSocket is where it says what it does.
	CeilingsSocket = "/run/ashlar/ceilings.sock"
	// CeilingsFile is what it is told.
	CeilingsFile = "/etc/ashlar/ceilings.json"
	// CeilingsPlugin is its name to containerd, which starts no container without it.
	CeilingsPlugin = "ashlar-ceilings"
	// NRISocket is where containerd has its plugins.
	NRISocket = "/run/nri/nri.sock"
)

// Ceiling is the most that a pod of a class may take of its machine's disk and network.
type Ceiling struct {
	Class   string                  `json:"class"`
	Disk    v1alpha1.DiskCeiling    `json:"disk,omitzero"`
	Network v1alpha1.NetworkCeiling `json:"network,omitzero"`
}

// Ceilings are those of all classes that have any, by name: what the classes say, and for those that are always there, where
// they say nothing, what leaves a neighbour its share.
func Ceilings(i v1alpha1.Isolation) []Ceiling {
	out := []Ceiling{usual(v1alpha1.ClassBaseline), usual(v1alpha1.ClassRestricted)}
	for _, c := range i.Classes {
		to := Ceiling{Class: c.Name}
		if at := slices.IndexFunc(out, func(o Ceiling) bool { return o.Class == c.Name }); at >= 0 {
			to = out[at]
			out = slices.Delete(out, at, at+1)
		}
		to.Disk = v1alpha1.DiskCeiling{
			Read: cmp.Or(c.Disk.Read, to.Disk.Read), Write: cmp.Or(c.Disk.Write, to.Disk.Write),
			ReadOps: cmp.Or(c.Disk.ReadOps, to.Disk.ReadOps), WriteOps: cmp.Or(c.Disk.WriteOps, to.Disk.WriteOps),
		}
		to.Network = v1alpha1.NetworkCeiling{
			Ingress: cmp.Or(c.Network.Ingress, to.Network.Ingress), Egress: cmp.Or(c.Network.Egress, to.Network.Egress),
		}
		if to.Disk != (v1alpha1.DiskCeiling{}) || to.Network != (v1alpha1.NetworkCeiling{}) {
			out = append(out, to)
		}
	}
	slices.SortFunc(out, func(a, b Ceiling) int { return cmp.Compare(a.Class, b.Class) })
	return out
}

// usual is far above what a service takes that behaves, and far below what a machine has. Of the network there is none: what sends
// needs CPU, of which a pod has its share, and pods shall be as fast as their machines where nothing else is declared.
func usual(class string) Ceiling {
	return Ceiling{Class: class, Disk: v1alpha1.DiskCeiling{Read: "100Mi", Write: "50Mi", ReadOps: 4000, WriteOps: 2000}}
}

// ceilings holds pods to the most that their classes let them take. What it has set outlives it.
func ceilings(d Desired) Unit {
	b, err := json.MarshalIndent(d.Ceilings, "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return Unit{
		Name:  "ceilings",
		Args:  []string{Bin + "/ashlar", "ceilings"},
		Files: []File{{Path: CeilingsFile, Mode: 0o600, Content: string(b) + "\n"}},
		After: []string{"containerd"},
		Ready: Probe{URL: "unix://" + CeilingsSocket},
		Grace: 5 * time.Second,
	}
}

// nri has containerd start no container of a pod whose ceilings are not set.
func nri() string {
	return fmt.Sprintf(`
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = %q
  [plugins.'io.containerd.nri.v1.nri'.default_validator]
    enable = true
    required_plugins = [%q]
`, NRISocket, CeilingsPlugin)
}

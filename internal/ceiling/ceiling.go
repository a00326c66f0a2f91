// Package ceiling holds pods to the most that their class lets them take of the machine's disk and network.
//
// Kubernetes knows no such limits. The machine's kernel does: on a pod's control group, and on the two ends of its network
// interface. They are set there when containerd has made the pod and before any of its containers runs, which waits for it,
// and stay there whatever becomes of the process that set them.
package ceiling

import (
	"cmp"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"

	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/unit"
)

// Ceiling is the most that a pod may take, by second. Zero: as much as there is.
type Ceiling struct {
	Disk    Disk    `json:"disk,omitzero"`
	Network Network `json:"network,omitzero"`
}

// Disk is the most of each disk.
type Disk struct {
	// Read and Write are bytes.
	Read  uint64 `json:"read,omitempty"`
	Write uint64 `json:"write,omitempty"`
	// ReadOps and WriteOps are operations.
	ReadOps  uint64 `json:"readOps,omitempty"`
	WriteOps uint64 `json:"writeOps,omitempty"`
}

// Network is the most of the network, in bytes.
type Network struct {
	// Ingress is what the pod receives.
	Ingress uint64 `json:"ingress,omitempty"`
	// Egress is what it sends.
	Egress uint64 `json:"egress,omitempty"`
}

// Ceilings are those of each class that has any.
type Ceilings map[string]Ceiling

// Parse reads what the machine was told.
func Parse(b []byte) (Ceilings, error) {
	var classes []unit.Ceiling
	if err := json.Unmarshal(b, &classes); err != nil {
		return nil, fmt.Errorf("read the classes' ceilings: %w", err)
	}
	return New(classes)
}

// New are the ceilings that are declared so.
func New(classes []unit.Ceiling) (Ceilings, error) {
	out := Ceilings{}
	for _, c := range classes {
		to := Ceiling{Disk: Disk{ReadOps: uint64(max(c.Disk.ReadOps, 0)), WriteOps: uint64(max(c.Disk.WriteOps, 0))}}
		for _, f := range []struct {
			name, value string
			to          *uint64
			unit        uint64
		}{
			{"disk.read", c.Disk.Read, &to.Disk.Read, 1}, {"disk.write", c.Disk.Write, &to.Disk.Write, 1},
			{"network.ingress", c.Network.Ingress, &to.Network.Ingress, 8}, {"network.egress", c.Network.Egress, &to.Network.Egress, 8},
		} {
			if f.value == "" {
				continue
			}
			q, err := resource.ParseQuantity(f.value)
			if err != nil || q.Value() < int64(f.unit) {
				return nil, fmt.Errorf("class %s: %s: %q is no such quantity", c.Class, f.name, f.value)
			}
			*f.to = uint64(q.Value()) / f.unit
		}
		out[c.Class] = to
	}
	return out, nil
}

// Of is the class of a pod with these labels, and its ceiling.
func (c Ceilings) Of(labels map[string]string) (string, Ceiling) {
	class := cmp.Or(labels[isolation.LabelClass], isolation.Restricted)
	return class, c[class]
}

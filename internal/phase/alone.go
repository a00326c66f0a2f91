package phase

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"ashlar.dev/ashlar/internal/unit"
)

// leaveAlone remembers which machines are revoked, for people to be told.
func (c *Cluster) leaveAlone(all []enrolled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alone = nil
	for _, e := range all {
		if e.out {
			c.alone = append(c.alone, e.machine.Name)
		}
	}
}

// LeftAlone are the declared machines that were not looked after, since they are revoked.
func (c *Cluster) LeftAlone() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.alone)
}

// revokedFile is what the operator's machine remembers of the list in Vault: a revoked machine that somebody powered off must not
// be powered on by `up` before Vault can be asked.
func (c *Cluster) revokedFile() string { return filepath.Join(c.Dir, "revoked.json") }

func (c *Cluster) remember(r unit.Revoked) error {
	b, err := json.Marshal(unit.Revoked{Machines: r.Machines, Users: r.Users})
	if err != nil {
		return err
	}
	return writeOperatorFile(c.revokedFile(), b)
}

// wasRevoked says whether a machine is revoked as far as is remembered.
func (c *Cluster) wasRevoked(machine string) bool {
	r, _ := c.remembered()
	_, out := r.Machine(machine)
	return out
}

// remembered is who is shut out as far as is remembered, and whether anything is.
func (c *Cluster) remembered() (r unit.Revoked, known bool) {
	b, err := os.ReadFile(c.revokedFile())
	if err != nil || json.Unmarshal(b, &r) != nil {
		return unit.Revoked{}, false
	}
	return r, true
}

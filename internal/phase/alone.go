package phase

import "slices"

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

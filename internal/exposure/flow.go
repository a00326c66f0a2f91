package exposure

// flow is packets that are at one place together: which they were when they were sent, and what has become of them since.
type flow struct {
	sent Set
	// now are the dimensions that have been rewritten: every packet may have any of these. The others are as sent.
	now [dimensions]Ranges
	// here is what this node has translated.
	translated, masqueraded bool
	maybe                   bool
	path                    *step
}

// step is a Step and what was before it.
type step struct {
	Step
	before *step
}

func (f flow) did(s Step) flow {
	f.path = &step{s, f.path}
	return f
}

// condition is a Match made ready: the sets that it means, by which dimensions have been rewritten and do not count.
type condition struct {
	*Match
	in   [dimensions]Ranges
	sets map[[dimensions]bool]Set
}

func newCondition(m *Match) *condition {
	c := &condition{Match: m, sets: map[[dimensions]bool]Set{}}
	for d, r := range [dimensions]Ranges{destination: m.Destination, protocol: m.Protocol, port: m.Port, source: m.Source} {
		if len(r) > 0 {
			c.in[d] = r
		}
	}
	return c
}

func (c *condition) set(rewritten [dimensions]bool) Set {
	s, ok := c.sets[rewritten]
	if !ok {
		in := c.in
		for d := range in {
			if rewritten[d] {
				in[d] = nil
			}
		}
		s = product(in)
		c.sets[rewritten] = s
	}
	return s
}

// split divides a flow into what meets the condition, if anything does, and what does not. Where a packet may have become
// several, some of them may be in either.
func (f flow) split(c *condition) (met flow, some bool, others []flow) {
	if c.Translated == Yes && !f.translated || c.Translated == No && f.translated {
		return f, false, []flow{f}
	}
	var rewritten [dimensions]bool
	for d, now := range f.now {
		rewritten[d] = now != nil
		if now != nil && c.in[d] != nil && len(now.And(c.in[d])) == 0 {
			return f, false, []flow{f}
		}
	}
	set := c.set(rewritten)
	met = f
	if met.sent = f.sent.And(set); met.sent.Empty() {
		return f, false, []flow{f}
	}
	if rest := f.sent.Minus(set); !rest.Empty() {
		other := f
		other.sent = rest
		others = append(others, other)
	}
	for d, now := range f.now {
		if now == nil || c.in[d] == nil {
			continue
		}
		if rest := now.Minus(c.in[d]); len(rest) > 0 {
			other := met
			other.now[d] = rest
			others = append(others, other)
		}
		met.now[d] = now.And(c.in[d])
	}
	return met, true, others
}

// rewrite makes what a translation makes of a flow.
func (f flow) rewrite(to *Rewrite) flow {
	set := func(d int, r Ranges) {
		if len(r) > 0 {
			f.now[d] = r
		}
	}
	set(source, to.Source)
	set(destination, to.Destination)
	set(port, to.Port)
	f.translated = f.translated || len(to.Destination)+len(to.Port) > 0
	f.masqueraded = f.masqueraded || len(to.Source) > 0
	return f
}

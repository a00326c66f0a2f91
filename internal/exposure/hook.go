package exposure

import "slices"

// place is where rules are asked: the attachment that packets came by, and the one that they are about to leave by.
type place struct{ node, in, out string }

func (c *condition) at(p place) bool {
	return (len(c.In) == 0 || slices.Contains(c.In, p.in)) && (len(c.Out) == 0 || p.out != "" && slices.Contains(c.Out, p.out))
}

// hook asks all chains in order, and returns what all of them accept.
func (r *reach) hook(chains []Chain, p place, f flow) []flow {
	flows := []flow{f}
	for i := range chains {
		var accepted []flow
		for _, f := range flows {
			yes, undecided := r.rules(chains[i].Rules, p, []flow{f})
			accepted = append(accepted, yes...)
			if chains[i].Accepts {
				accepted = append(accepted, undecided...)
			}
		}
		flows = accepted
	}
	return flows
}

// rules divides flows into what rules accept and what they do not decide about.
func (r *reach) rules(rules []Rule, p place, flows []flow) (accepted, undecided []flow) {
	for i := range rules {
		rule := &rules[i]
		c := r.condition(&rule.Match)
		if !c.at(p) {
			continue
		}
		var next []flow
		for _, f := range flows {
			met, some, others := f.split(c)
			next = append(next, others...)
			if !some {
				continue
			}
			if rule.Maybe {
				next = append(next, met)
			}
			a, u := r.apply(rule, p, met)
			accepted = append(accepted, a...)
			if rule.Verdict == Jump {
				next = append(next, u...)
			} else {
				undecided = append(undecided, u...)
			}
		}
		if flows = next; len(flows) == 0 {
			break
		}
	}
	return accepted, append(undecided, flows...)
}

// apply returns what a rule accepts of the packets that it matches, and what it leaves to whoever asked for its chain, or
// with Jump to the rules behind it.
func (r *reach) apply(rule *Rule, p place, f flow) (accepted, undecided []flow) {
	f.maybe = f.maybe || rule.Maybe
	switch rule.Verdict {
	case Accept:
		return []flow{f.did(Step{p.node, ByRule, rule.said()})}, nil
	case Return:
		return nil, []flow{f}
	case Jump:
		return r.rules(rule.Rules, p, []flow{f})
	case Translate:
		if f.translated && len(rule.To.Destination)+len(rule.To.Port) > 0 || f.masqueraded && len(rule.To.Source) > 0 {
			return []flow{f}, nil
		}
		return []flow{f.rewrite(&rule.To).did(Step{p.node, ByTranslation, rule.said()})}, nil
	}
	return nil, nil
}

package phase

import (
	"context"
	"time"
)

const (
	// silence is how long a machine may say nothing while it is waited for, before it gets another init token.
	silence = 20 * time.Second
	// lookSeldom is how often all machines are asked about by whoever waits for something else.
	lookSeldom = 2 * time.Second
)

// silent knows since when each machine is waited for. One whose token is dead cannot say so: Vault does not listen to it.
type silent struct {
	began, looked time.Time
	helped        map[string]time.Time
}

func silentSince(began time.Time) *silent {
	return &silent{began: began, looked: began.Add(silence), helped: map[string]time.Time{}}
}

// help gives an init token to the machines that are not as they should be and have said nothing for too long.
func (s *silent) help(ctx context.Context, c *Cluster, all []enrolled) error {
	for _, e := range all {
		last := s.began
		if t, ok := s.helped[e.machine.Name]; ok {
			last = t
		}
		now := time.Now()
		if e.attested || now.Sub(last) <= silence || !e.status.Seen.Before(last) || len(unready(e, now)) == 0 {
			continue
		}
		s.helped[e.machine.Name] = now
		if err := c.introduce(ctx, e, true); err != nil {
			return err
		}
	}
	return nil
}

// look does so now and then.
func (s *silent) look(ctx context.Context, c *Cluster) error {
	if time.Since(s.looked) < lookSeldom {
		return nil
	}
	s.looked = time.Now()
	all, err := c.enrolment(ctx)
	if err != nil {
		return err
	}
	return s.help(ctx, c, all)
}

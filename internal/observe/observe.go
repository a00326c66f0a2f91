// Package observe measures, with real packets, who reaches whom: from inside the network namespaces of a machine and of the pods
// on it, without touching the pods. One process does so for a whole machine.
package observe

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// Attempt is one connection to try, or one datagram to send.
type Attempt struct {
	// From is the address of the pod whose network it comes from; none: the machine's own.
	From     netip.Addr     `json:"from,omitzero"`
	To       netip.AddrPort `json:"to"`
	Protocol string         `json:"protocol"` // TCP, UDP or SCTP
}

// Plan is what a machine's process does.
type Plan struct {
	Attempts []Attempt `json:"attempts"`
	// Listen are the addresses of pods that datagrams may be heard at, whether or not anybody there answers.
	Listen []netip.Addr `json:"listen"`
	// Timeout is how long silence is waited for.
	Timeout time.Duration `json:"timeout"`
}

// State is what came of an attempt.
type State string

// The states. A refused connection that the other end itself refuses has reached it.
const (
	Reached State = "reached"
	Refused State = "refused"
	Silent  State = "silent"
)

// Outcome is what came of an attempt, and the words of whoever answered.
type Outcome struct {
	State  State  `json:"state"`
	Answer string `json:"answer"`
	// Token is what the datagram had in it.
	Token string `json:"token,omitempty"`
}

// Serve talks to the one who planned: it reads a Plan, and says when all is ready; told to go on, it tries everything at once and
// returns the Outcomes; told again, the tokens of the datagrams that came in meanwhile.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	var plan Plan
	if err := from.Decode(&plan); err != nil {
		return fmt.Errorf("read what to try: %w", err)
	}
	spaces, err := namespaces()
	if err != nil {
		return err
	}
	defer spaces.close()
	ears, err := spaces.listen(plan.Listen)
	if err != nil {
		return err
	}
	defer ears.close()
	var word string
	if err := say(from, to, "ready", &word); err != nil {
		return err
	}
	outcomes, err := spaces.try(ctx, plan)
	if err != nil {
		return err
	}
	if err := say(from, to, outcomes, &word); err != nil {
		return err
	}
	return to.Encode(ears.heard())
}

// say tells, and waits for the answer.
func say(from *json.Decoder, to *json.Encoder, what, answer any) error {
	if err := to.Encode(what); err != nil {
		return err
	}
	if err := from.Decode(answer); err != nil {
		return fmt.Errorf("wait to go on: %w", err)
	}
	return nil
}

// try makes all attempts side by side: silence is what most of them wait for.
func (s spaces) try(ctx context.Context, plan Plan) ([]Outcome, error) {
	outcomes := make([]Outcome, len(plan.Attempts))
	bySource := map[netip.Addr][]int{}
	for i, a := range plan.Attempts {
		bySource[a.From] = append(bySource[a.From], i)
	}
	deadline := time.Now().Add(plan.Timeout)
	g, ctx := errgroup.WithContext(ctx)
	for source, those := range bySource {
		g.Go(func() error {
			return s.inside(source, func() error {
				flights := make([]*flight, len(those))
				for i, n := range those {
					flights[i] = launch(plan.Attempts[n], &outcomes[n])
				}
				return watch(ctx, flights, deadline)
			})
		})
	}
	return outcomes, g.Wait()
}

// mark begins every token, so that it is found in a packet.
const mark = "ashlar-"

func newToken() string { return mark + rand.Text()[:16] }

// question is a datagram that has a token in it, and that a DNS server would answer: is there such a name?
func question(token string) []byte {
	const suffix = "invalid"
	q := []byte{0x41, 0x53, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // one question, recursion desired
	for _, label := range []string{token, suffix} {
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, 1, 0, 1) // root; type A, class IN
}

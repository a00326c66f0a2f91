package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// Task is an attempt, and the machine that it is made on.
type Task struct {
	Machine string
	Attempt
	// ListenOn is the machine of the pod that the attempt is to; none: nobody can listen there.
	ListenOn string
}

// Machines run commands.
type Machines interface {
	Exec(ctx context.Context, name string, e provider.Exec) error
}

// limit bounds a whole measurement beyond the time that silence takes.
const limit = 30 * time.Second

// Measure makes all attempts at once, by one process on each machine, and returns their outcomes in order. A datagram that came in at
// its pod has reached it, whether or not anybody answered.
func Measure(ctx context.Context, machines Machines, tasks []Task, timeout time.Duration) ([]Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+limit)
	defer cancel()
	plans, of := map[string]*Plan{}, map[string][]int{}
	plan := func(machine string) *Plan {
		if plans[machine] == nil {
			plans[machine] = &Plan{Timeout: timeout}
		}
		return plans[machine]
	}
	for i, t := range tasks {
		p := plan(t.Machine)
		p.Attempts = append(p.Attempts, t.Attempt)
		of[t.Machine] = append(of[t.Machine], i)
		if to := t.To.Addr(); t.ListenOn != "" && t.Protocol != "TCP" {
			if l := plan(t.ListenOn); !slices.Contains(l.Listen, to) {
				l.Listen = append(l.Listen, to)
			}
		}
	}
	m := &measurement{machines: machines, outcomes: make([]Outcome, len(tasks)), heard: map[string]bool{}}
	if err := m.run(ctx, plans, of); err != nil {
		return nil, err
	}
	for i := range m.outcomes {
		if o := &m.outcomes[i]; m.heard[o.Token] && o.State == Silent {
			o.State, o.Answer = Reached, "it came in"
		}
	}
	return m.outcomes, nil
}

type measurement struct {
	machines Machines
	outcomes []Outcome
	heard    map[string]bool
}

// run starts every machine's process, has them all begin when all are ready, and end when all are done.
func (m *measurement) run(ctx context.Context, plans map[string]*Plan, of map[string][]int) error {
	names := slices.Sorted(maps.Keys(plans))
	talks := make([]*talk, len(names))
	for i, name := range names {
		talks[i] = begin(ctx, m.machines, name)
		defer talks[i].hangUp()
	}
	all := func(f func(i int) error) error {
		var g errgroup.Group
		for i := range talks {
			g.Go(func() error { return f(i) })
		}
		return g.Wait()
	}
	err := all(func(i int) error { var ready string; return talks[i].ask(plans[names[i]], &ready) })
	if err != nil {
		return err
	}
	err = all(func(i int) error {
		var outcomes []Outcome
		if err := talks[i].ask("go", &outcomes); err != nil {
			return err
		}
		if len(outcomes) != len(of[names[i]]) {
			return fmt.Errorf("machine %s: it tried %d connections of %d", names[i], len(outcomes), len(of[names[i]]))
		}
		for n, o := range outcomes {
			m.outcomes[of[names[i]][n]] = o
		}
		return nil
	})
	if err != nil {
		return err
	}
	heard := make([][]string, len(talks))
	if err := all(func(i int) error { return talks[i].ask("end", &heard[i]) }); err != nil {
		return err
	}
	for _, token := range slices.Concat(heard...) {
		m.heard[token] = true
	}
	return nil
}

// talk is a conversation with a machine's process.
type talk struct {
	machine string
	in      *json.Encoder
	out     *json.Decoder
	said    bytes.Buffer // on standard error; to be read after its end
	failed  chan error
	hangUp  func()
}

func begin(ctx context.Context, machines Machines, name string) *talk {
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	t := &talk{machine: name, in: json.NewEncoder(toIn), out: json.NewDecoder(fromOut), failed: make(chan error, 1)}
	go func() {
		err := machines.Exec(ctx, name, provider.Exec{Args: []string{unit.Bin + "/ashlar", "probe", "reach"}, Stdin: in, Stdout: out, Stderr: &t.said})
		t.failed <- err
		_ = in.CloseWithError(errOver)
		_ = out.CloseWithError(errOver)
	}()
	t.hangUp = func() {
		_ = toIn.Close()
		_ = fromOut.Close()
	}
	return t
}

var errOver = errors.New("the process has ended")

// ask says something, and waits for the answer.
func (t *talk) ask(what, answer any) error {
	err := t.in.Encode(what)
	if err == nil {
		err = t.out.Decode(answer)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, errOver) {
		if e := <-t.failed; e != nil {
			err = fmt.Errorf("%w: %s", e, strings.TrimSpace(t.said.String()))
		}
	}
	return fmt.Errorf("measure on machine %s: %w", t.machine, err)
}

// Tunnel finds a worker's address within the pods' network.
func Tunnel(ctx context.Context, machines Machines, name string) (netip.Addr, error) {
	var out bytes.Buffer
	err := machines.Exec(ctx, name, provider.Exec{Args: []string{"ip", "-4", "-o", "address", "show", "dev", "vxlan.calico"}, Stdout: &out})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address of machine %s within the pods' network: %w", name, err)
	}
	fields := strings.Fields(out.String())
	if i := slices.Index(fields, "inet"); i >= 0 && i+1 < len(fields) {
		p, err := netip.ParsePrefix(fields[i+1])
		return p.Addr(), err
	}
	return netip.Addr{}, fmt.Errorf("machine %s has no address within the pods' network yet", name)
}

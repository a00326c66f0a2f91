// Command scale plays the agents of many machines to a real Vault, and prints as JSON what each thing that they do
// costs, what a day of 1,000 machines comes to, and how far from saturated Vault is by so many machines.
// VAULT names the server's binary, as `make scale` does.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/testvault"
)

const day = 24 * time.Hour

// cost is what one kind of request costs, each at its utmost rate.
type cost struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"perSecond"`
	// P50 and P99 are milliseconds, with sixteen at once.
	P50 float64 `json:"p50Milliseconds"`
	P99 float64 `json:"p99Milliseconds"`
	// CPU is Vault's, in milliseconds a request; Storage and Audit are bytes a request that stay.
	CPU     float64 `json:"cpuMilliseconds"`
	Storage float64 `json:"storageBytes"`
	Audit   float64 `json:"auditBytes"`
}

// daily is what machines come to in a day.
type daily struct {
	Machines     int     `json:"machines"`
	Certificates float64 `json:"certificates"`
	Requests     float64 `json:"requests"`
	CPUSeconds   float64 `json:"cpuSeconds"`
	StorageMiB   float64 `json:"storageMiB"`
	AuditMiB     float64 `json:"auditMiB"`
}

// report is what is printed.
type report struct {
	Cores  int             `json:"cores"`
	Fleet  int             `json:"fleet"`
	Costs  map[string]cost `json:"costs"`
	Day    daily           `json:"day"`
	Played played          `json:"played"`
}

// played is the fleet doing in real time what so many machines do.
type played struct {
	Machines  int     `json:"machines"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"requestsPerSecond"`
	// Load is the share of all cores that Vault used; Late counts requests that had no room.
	Load   float64 `json:"load"`
	Late   int64   `json:"late"`
	P50    float64 `json:"p50Milliseconds"`
	P99    float64 `json:"p99Milliseconds"`
	Memory float64 `json:"memoryMiB"`
}

func main() {
	workers := flag.Int("fleet", 500, "how many machines log in")
	machines := flag.Int("machines", 5000, "whose requests the fleet plays")
	rounds := flag.Int("rounds", 4, "how often everybody does everything while costs are measured")
	length := flag.Duration("play", time.Minute, "how long it plays")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := scale(ctx, *workers, *machines, *rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func scale(ctx context.Context, workers, machines, rounds int, length time.Duration) error {
	in := input(workers)
	began := time.Now()
	started, err := testvault.Start(ctx, os.Getenv("VAULT"), in)
	defer started.Stop()
	if err != nil {
		return err
	}
	s := server{started}
	tell("a Vault for %d machines", began, workers)
	var f fleet
	for _, m := range in.Machines {
		if m.Role == v1alpha1.RoleWorker {
			w, err := newMachine(s, m)
			if err != nil {
				return err
			}
			f = append(f, w)
		}
	}
	r := report{Cores: runtime.NumCPU(), Fleet: workers, Costs: map[string]cost{}}
	profiles := len(f[0].profiles)
	for _, kind := range []struct {
		name         string
		warm, rounds int
		do           func(context.Context, *machine, int) error
	}{
		{"enrol", 0, 1, func(ctx context.Context, m *machine, _ int) error { return m.enrol(ctx, s) }},
		{"sign", 0, rounds * profiles, func(ctx context.Context, m *machine, n int) error { return m.sign(ctx, m.profiles[n%profiles]) }},
		{"ask", 0, rounds, func(ctx context.Context, m *machine, _ int) error { return m.ask(ctx) }},
		// Vault keeps five versions of a status: the first ones are no growth.
		{"report", 6, rounds, func(ctx context.Context, m *machine, _ int) error { return m.report(ctx) }},
		{"renew token", 0, rounds, func(ctx context.Context, m *machine, _ int) error { return m.renew(ctx) }},
	} {
		began := time.Now()
		for range kind.warm {
			if _, err := f.all(ctx, func(ctx context.Context, m *machine) error { return kind.do(ctx, m, 0) }); err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
		}
		c, err := measure(ctx, s, f, kind.rounds, kind.do)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		r.Costs[kind.name] = c
		tell("%s: %.0f a second", began, kind.name, c.PerSecond)
	}
	habits := habitsOf(machines, in.LeafTTL, profiles)
	r.Day = habits.daily(1000, r.Costs)
	began = time.Now()
	if r.Played, err = habits.play(ctx, s, f, machines, length); err != nil {
		return fmt.Errorf("play %d machines: %w", machines, err)
	}
	tell("%d machines, played: Vault uses %.1f %% of %d cores", began, machines, 100*r.Played.Load, r.Cores)
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

func tell(format string, began time.Time, args ...any) {
	fmt.Fprintf(os.Stderr, format+" (%s)\n", append(args, time.Since(began).Round(100*time.Millisecond))...)
}

// measure has everybody do something, as fast as it goes.
func measure(ctx context.Context, s server, f fleet, rounds int, do func(context.Context, *machine, int) error) (cost, error) {
	stored, err := s.stored(ctx)
	if err != nil {
		return cost{}, err
	}
	before, err := s.look()
	if err != nil {
		return cost{}, err
	}
	var latencies []time.Duration
	began := time.Now()
	for n := range rounds {
		l, err := f.all(ctx, func(ctx context.Context, m *machine) error { return do(ctx, m, n) })
		if err != nil {
			return cost{}, err
		}
		latencies = append(latencies, l...)
	}
	took := time.Since(began)
	after, err := s.look()
	if err != nil {
		return cost{}, err
	}
	used := after.since(before)
	storedNow, err := s.stored(ctx)
	if err != nil {
		return cost{}, err
	}
	n := float64(len(latencies))
	return cost{
		Requests: len(latencies), PerSecond: n / took.Seconds(), P50: percentile(latencies, 50), P99: percentile(latencies, 99),
		CPU: used.cpu.Seconds() * 1000 / n, Storage: (storedNow - stored) / n, Audit: used.audit * mib / n,
	}, nil
}

// percentile is in milliseconds.
func percentile(all []time.Duration, p int) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*p/100].Seconds() * 1000
}

// habits is how often a day a machine does each thing.
type habits map[string]float64

// habitsOf are those of an agent: a certificate is renewed by 0.45 of its life on average (agent.RenewAt), a token at
// half of it, and what changes is reported.
func habitsOf(machines int, leafTTL time.Duration, profiles int) habits {
	ask, beat := agent.Pace(machines, leafTTL)
	lives := day.Seconds() / leafTTL.Seconds()
	return habits{
		"sign":        float64(profiles) * lives / 0.45,
		"renew token": lives * 2,
		"ask":         day.Seconds() / ask.Seconds(),
		"report":      day.Seconds()/beat.Seconds() + lives/0.45,
	}
}

func (h habits) daily(machines int, costs map[string]cost) daily {
	d := daily{Machines: machines, Certificates: h["sign"] * float64(machines)}
	for name, times := range h {
		n := times * float64(machines)
		d.Requests += n
		d.CPUSeconds += n * costs[name].CPU / 1000
		d.StorageMiB += n * costs[name].Storage / mib
		d.AuditMiB += n * costs[name].Audit / mib
	}
	return d
}

func (h habits) play(ctx context.Context, s server, f fleet, machines int, length time.Duration) (played, error) {
	rateOf := func(name string, do func(context.Context, *machine, int) error) rate {
		return rate{h[name] * float64(machines) / day.Seconds(), do}
	}
	before, err := s.look()
	if err != nil {
		return played{}, err
	}
	began := time.Now()
	latencies, late, err := f.play(ctx, []rate{
		rateOf("sign", func(ctx context.Context, m *machine, n int) error {
			return m.sign(ctx, m.profiles[n/len(f)%len(m.profiles)])
		}),
		rateOf("ask", func(ctx context.Context, m *machine, _ int) error { return m.ask(ctx) }),
		rateOf("report", func(ctx context.Context, m *machine, _ int) error { return m.report(ctx) }),
		rateOf("renew token", func(ctx context.Context, m *machine, _ int) error { return m.renew(ctx) }),
	}, length)
	if err != nil {
		return played{}, err
	}
	took := time.Since(began)
	after, err := s.look()
	if err != nil {
		return played{}, err
	}
	return played{
		Machines: machines, Seconds: took.Seconds(), PerSecond: float64(len(latencies)) / took.Seconds(), Late: late,
		Load: after.since(before).cpu.Seconds() / took.Seconds() / float64(runtime.NumCPU()),
		P50:  percentile(latencies, 50), P99: percentile(latencies, 99), Memory: after.memory,
	}, nil
}

package rotation

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a cluster as far as a rotation goes: what was told to each machine, and what it presents.
type world struct {
	journal  Journal
	machines []member
}

type member struct {
	told     Rotation // the last stage that reached it
	presents string
}

func newWorld(n int) *world {
	w := &world{machines: make([]member, n)}
	for i := range w.machines {
		w.machines[i] = member{told: Rotation{Stage: Prepare, Old: "key-0"}, presents: "key-0"}
	}
	return w
}

// tell is the operator's, and may end anywhere between machines.
func (w *world) tell(i int) {
	if w.journal.Current != nil {
		w.machines[i].told = *w.journal.Current
	}
}

// renew is the machine's, some time after it was told.
func (w *world) renew(i int) { w.machines[i].presents = w.machines[i].told.Signer() }

func (w *world) confirmed() bool {
	for _, m := range w.machines {
		if w.journal.Current == nil || m.told.Stage != w.journal.Current.Stage || m.told.New != w.journal.Current.New || m.presents != m.told.Signer() {
			return false
		}
	}
	return true
}

// refused names a machine that another would refuse.
func (w *world) refused() string {
	for i, a := range w.machines {
		for j, b := range w.machines {
			if !slices.Contains(b.told.Trusted(), a.presents) {
				return fmt.Sprintf("machine %d (%s) presents %s, and machine %d (%s) trusts %v", i, a.told.Stage, a.presents, j, b.told.Stage, b.told.Trusted())
			}
		}
	}
	return ""
}

var clock = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// TestNobodyIsEverRefused: operators come, tell some machines, die, come again, confirm, advance and abort, in any
// order; machines take their time. At every moment everybody trusts what everybody else presents.
func TestNobodyIsEverRefused(t *testing.T) {
	finished, aborted := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 5).Draw(t, "machines"))
		keys := 1
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			i := rapid.IntRange(0, len(w.machines)-1).Draw(t, "machine")
			before := w.journal
			switch rapid.SampledFrom([]string{"tell", "tell all", "renew", "renew all", "operate", "operate", "operate", "abort"}).Draw(t, "step") {
			case "tell":
				w.tell(i)
			case "tell all":
				for i := range w.machines {
					w.tell(i)
				}
			case "renew":
				w.renew(i)
			case "renew all":
				for i := range w.machines {
					w.renew(i)
				}
			case "abort":
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					w.journal, _ = w.journal.Abort() // a refusal is one of the possible answers
				}
			case "operate":
				w.operate(t, &keys)
			}
			if problem := w.refused(); problem != "" {
				t.Fatal(problem)
			}
			if before.Current != nil && w.journal.Current == nil {
				if before.Current.Back {
					aborted++
				} else {
					finished++
				}
			}
		}
	})
	if finished == 0 || aborted == 0 {
		t.Errorf("%d rotations were finished and %d aborted: nothing was tried", finished, aborted)
	}
}

func (w *world) operate(t *rapid.T, keys *int) {
	var err error
	switch {
	case !w.journal.Open():
		w.journal, err = w.journal.Enqueue([]Target{Kubernetes})
	case w.journal.Current == nil:
		old := w.journal.Latest(Kubernetes, "key-0")
		w.journal, err = w.journal.Begin([]Keys{{Kubernetes, old, fmt.Sprintf("key-%d", *keys)}}, clock)
		*keys++
	case w.journal.Current.Confirmed != nil:
		w.journal, err = w.journal.Advance()
	case w.confirmed():
		w.journal, err = w.journal.Confirm(clock)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSkippedSteps: whoever leaves a stage or a confirmation out is caught by the same invariant.
func TestSkippedSteps(t *testing.T) {
	for name, skip := range map[string]struct{ from, to Stage }{
		"trust": {Prepare, Issue}, "issue": {Trust, Drop}, "all": {Prepare, Drop}, "back over issue": {Drop, Trust}, "back over trust": {Issue, Prepare},
	} {
		w := newWorld(2)
		at := func(s Stage) Rotation { return Rotation{Stage: s, Old: "key-0", New: "key-1"} }
		for i := range w.machines {
			w.machines[i] = member{told: at(skip.from), presents: at(skip.from).Signer()}
		}
		w.machines[0].told = at(skip.to)
		w.renew(0)
		if w.refused() == "" {
			t.Errorf("skipping %s: nobody is refused", name)
		}
	}
	for at := 1; at < len(Stages); at++ {
		w := newWorld(2)
		told := Rotation{Stage: Stages[at-1], Old: "key-0", New: "key-1"}
		w.machines[0] = member{told: told, presents: told.Signer()}
		told.Stage = Stages[at]
		w.machines[1] = member{told: told, presents: told.Signer()}
		if problem := w.refused(); problem != "" {
			t.Errorf("%s beside %s: %s", Stages[at-1], Stages[at], problem)
		}
	}
}

// TestRefusals: what the journal does not let anybody do.
func TestRefusals(t *testing.T) {
	empty := Journal{}
	if _, err := empty.Abort(); !errors.Is(err, ErrNone) {
		t.Errorf("abort nothing: %v", err)
	}
	if _, err := empty.Advance(); !errors.Is(err, ErrNone) {
		t.Errorf("advance nothing: %v", err)
	}
	j, err := empty.Enqueue([]Target{Kubernetes, FrontProxy})
	if _, err := j.Begin([]Keys{{FrontProxy, "a", "b"}}, clock); err == nil {
		t.Error("what is not the next begins")
	}
	if err == nil {
		j, err = j.Begin([]Keys{{Kubernetes, "a", "b"}}, clock)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Enqueue([]Target{VaultTLS}); !errors.Is(err, ErrUnderWay) {
		t.Errorf("begin in the middle: %v", err)
	}
	if _, err := j.Advance(); err == nil {
		t.Error("an unconfirmed stage was left")
	}
	for _, s := range []Stage{Drop, Finish} {
		late := Journal{Current: &Rotation{Stage: s}}
		if _, err := late.Abort(); !errors.Is(err, ErrTooLate) {
			t.Errorf("abort at %s: %v", s, err)
		}
	}
	j, err = j.Abort()
	if err != nil || !j.Current.Back || len(j.Queue) > 0 {
		t.Errorf("abort: %+v, %v", j, err)
	}
}

// TestTogether: several go through the stages side by side, forward and back, and are all remembered at the end.
func TestTogether(t *testing.T) {
	if got := fmt.Sprint(Together(Targets)); got != "[[vault-tls etcd-k8s etcd-overlay front-proxy encryption-key ssh-host] [ssh-user kubernetes serviceaccount-key]]" {
		t.Errorf("all go as %s", got)
	}
	step := func(j Journal, f func(Journal) (Journal, error)) Journal {
		t.Helper()
		j, err := f(j)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	on := func(j Journal) Journal {
		t.Helper()
		return step(step(j, func(j Journal) (Journal, error) { return j.Confirm(clock) }), Journal.Advance)
	}
	begin := func() Journal {
		j := step(Journal{}, func(j Journal) (Journal, error) { return j.Enqueue([]Target{EtcdOverlay, FrontProxy, Kubernetes}) })
		if got := fmt.Sprint(j.Next()); got != "[etcd-overlay front-proxy]" {
			t.Errorf("next are %s", got)
		}
		return step(j, func(j Journal) (Journal, error) {
			return j.Begin([]Keys{{EtcdOverlay, "a", "b"}, {FrontProxy, "c", "d"}}, clock)
		})
	}
	j := begin()
	for _, stage := range Stages {
		for i, r := range j.UnderWay() {
			if want := []Rotation{{Target: EtcdOverlay, Old: "a", New: "b"}, {Target: FrontProxy, Old: "c", New: "d"}}[i]; r.Stage != stage || r.Target != want.Target || r.Old != want.Old || r.New != want.New {
				t.Errorf("at %s: %+v", stage, r)
			}
		}
		j = on(j)
	}
	if j.Current != nil || j.With != nil || j.Past[EtcdOverlay].New != "b" || j.Past[FrontProxy].New != "d" || fmt.Sprint(j.Queue) != "[kubernetes]" {
		t.Errorf("at the end: %+v", j)
	}

	j = step(on(on(begin())), Journal.Abort) // at issue
	for _, stage := range []Stage{Trust, Prepare} {
		for _, r := range j.UnderWay() {
			if !r.Back || r.Stage != stage {
				t.Errorf("on the way back to %s: %+v", stage, r)
			}
		}
		j = on(j)
	}
	if j.Open() || len(j.With) > 0 || len(j.Past) > 0 {
		t.Errorf("taken back: %+v", j)
	}
}

package rotation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Stage is how far a rotation is.
type Stage string

// The stages, in their order. Whoever is at one gets on with whoever is at the one before or after it, which is why
// nobody may be further apart.
const (
	// Prepare: the new key exists, and means nothing to anybody.
	Prepare Stage = "prepare"
	// Trust: both are trusted, the old one signs.
	Trust Stage = "trust"
	// Issue: both are trusted, the new one signs.
	Issue Stage = "issue"
	// Drop: the new one is trusted, and signs. There is no way back from here.
	Drop Stage = "drop"
	// Finish: the old key is destroyed.
	Finish Stage = "finish"
)

// Stages are all of them.
var Stages = []Stage{Prepare, Trust, Issue, Drop, Finish}

// Journal is what is written down of rotations. It is one document in Vault, replaced with check-and-set.
type Journal struct {
	// Current is the rotation under way.
	Current *Rotation `json:"current,omitempty"`
	// With are rotated along with it: each is at the same stage.
	With []Keys `json:"with,omitempty"`
	// Queue are the targets after it.
	Queue []Target `json:"queue,omitempty"`
	// Past is what the last finished rotation of each target did.
	Past map[Target]Rotation `json:"past,omitempty"`
}

// Rotation is one target's.
type Rotation struct {
	Target Target `json:"target"`
	Stage  Stage  `json:"stage"`
	// Back: it was aborted, and goes backwards.
	Back bool `json:"back,omitempty"`
	// Old and New name the keys: issuers, documents or versions, as the target has it.
	Old string `json:"old"`
	New string `json:"new"`
	// Began is when the rotation did; Confirmed when every machine had confirmed the stage, if it has.
	Began     time.Time  `json:"began"`
	Confirmed *time.Time `json:"confirmed,omitempty"`
}

// Keys name a target's old and new key.
type Keys struct {
	Target Target `json:"target"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

// UnderWay are the rotations under way, all at the same stage.
func (j Journal) UnderWay() []Rotation {
	if j.Current == nil {
		return nil
	}
	out := []Rotation{*j.Current}
	for _, k := range j.With {
		r := *j.Current
		r.Target, r.Old, r.New = k.Target, k.Old, k.New
		out = append(out, r)
	}
	return out
}

// Targets are those of the rotations under way.
func (j Journal) Targets() []Target {
	var out []Target
	for _, r := range j.UnderWay() {
		out = append(out, r.Target)
	}
	return out
}

// Errors of what a user asks for.
var (
	ErrUnderWay = errors.New("a rotation is under way")
	ErrNone     = errors.New("no rotation is under way")
	ErrTooLate  = errors.New("the old key is being dropped: from there it only goes forward")
)

// Trusted are the keys that are trusted at this stage. Which of them signs, Signer says.
func (r Rotation) Trusted() []string {
	switch r.Stage {
	case Prepare:
		return []string{r.Old}
	case Trust, Issue:
		return []string{r.Old, r.New}
	}
	return []string{r.New}
}

// SignerFirst are Trusted, the one that signs before the other.
func (r Rotation) SignerFirst() []string {
	out := r.Trusted()
	if out[0] != r.Signer() {
		slices.Reverse(out)
	}
	return out
}

// Signer is the key that signs at this stage.
func (r Rotation) Signer() string {
	if r.Stage == Prepare || r.Stage == Trust {
		return r.Old
	}
	return r.New
}

// Enqueue makes targets the ones to rotate.
func (j Journal) Enqueue(targets []Target) (Journal, error) {
	if j.Current != nil || len(j.Queue) > 0 {
		return j, ErrUnderWay
	}
	j.Queue = slices.Clone(targets)
	return j, nil
}

// Next are the targets of the queue that begin together.
func (j Journal) Next() []Target {
	if len(j.Queue) == 0 {
		return nil
	}
	return Together(j.Queue)[0]
}

// Begin starts with the first targets of the queue, of which the keys are given.
func (j Journal) Begin(keys []Keys, now time.Time) (Journal, error) {
	switch {
	case j.Current != nil:
		return j, ErrUnderWay
	case len(keys) == 0:
		return j, ErrNone
	case len(keys) > len(j.Queue) || !slices.EqualFunc(keys, j.Queue[:len(keys)], func(k Keys, t Target) bool { return k.Target == t }):
		return j, errors.New("somebody else changed what is to be rotated")
	}
	first := keys[0]
	j.Current = &Rotation{Target: first.Target, Stage: Prepare, Old: first.Old, New: first.New, Began: now}
	j.With, j.Queue = slices.Clone(keys[1:]), slices.Clone(j.Queue[len(keys):])
	return j, nil
}

// Confirm notes that every machine is at the stage; once is enough.
func (j Journal) Confirm(now time.Time) (Journal, error) {
	if j.Current == nil {
		return j, ErrNone
	}
	if j.Current.Confirmed != nil {
		return j, nil
	}
	r := *j.Current
	r.Confirmed = &now
	j.Current = &r
	return j, nil
}

// Advance goes to the stage after a confirmed one: forward or, after Abort, backward. Past the last one the rotation is
// over.
func (j Journal) Advance() (Journal, error) {
	if j.Current == nil {
		return j, ErrNone
	}
	r := *j.Current
	if r.Confirmed == nil {
		return j, fmt.Errorf("stage %s of %s is not confirmed by every machine", r.Stage, r.Target)
	}
	r.Confirmed = nil
	at := slices.Index(Stages, r.Stage)
	switch {
	case r.Back && r.Stage == Prepare:
		j.Current, j.With = nil, nil
		return j, nil
	case r.Back:
		r.Stage = Stages[at-1]
	case r.Stage == Finish:
		j.Current = &r
		for _, r := range j.UnderWay() {
			j = j.remember(r)
		}
		j.Current, j.With = nil, nil
		return j, nil
	default:
		r.Stage = Stages[at+1]
	}
	j.Current = &r
	return j, nil
}

// Replaced notes that a target was replaced at once, while nobody used the old key.
func (j Journal) Replaced(t Target, old, next string, now time.Time) Journal {
	return j.remember(Rotation{Target: t, Stage: Finish, Old: old, New: next, Began: now})
}

func (j Journal) remember(r Rotation) Journal {
	past := map[Target]Rotation{}
	maps.Copy(past, j.Past)
	past[r.Target] = r
	j.Past = past
	return j
}

// Abort turns the rotation around, and gives up those after it. Some machines may be at the present stage already: it
// is left as every other, by going to its neighbour.
func (j Journal) Abort() (Journal, error) {
	if j.Current == nil && len(j.Queue) == 0 {
		return j, ErrNone
	}
	j.Queue = nil
	if j.Current == nil || j.Current.Back {
		return j, nil
	}
	r := *j.Current
	if r.Stage == Drop || r.Stage == Finish {
		return j, ErrTooLate
	}
	r.Back = true
	// Back from a stage that nobody need have reached: all were at the one before it, and some are at this one.
	if r.Stage != Prepare {
		r.Stage = Stages[slices.Index(Stages, r.Stage)-1]
	}
	r.Confirmed = nil
	j.Current = &r
	return j, nil
}

// Open says whether there is something to continue.
func (j Journal) Open() bool { return j.Current != nil || len(j.Queue) > 0 }

// Latest is the key of a target that is in use when nothing rotates it; first is the one that the cluster began with.
func (j Journal) Latest(t Target, first string) string {
	if r, ok := j.Past[t]; ok {
		return r.New
	}
	return first
}

// Package claim holds the promises of Ashlar as things that can be tried. A probe attacks the live cluster and
// brings back evidence; whether the claim holds is decided from the evidence alone, by a pure function.
package claim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/bundle"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/observe"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Claim is one promise.
type Claim struct {
	// ID names the claim, as in the documentation.
	ID string
	// Says is the sentence of the specification that it comes from; Holds what Ashlar promises.
	Says, Holds string
	// Probe attacks. An error means that the attack could not be tried; that is not a claim that holds.
	Probe func(context.Context, *Target) ([]Evidence, error)
}

// Target is what probes work with: the cluster as its operator can reach it.
type Target struct {
	Spec     *v1alpha1.Cluster
	Machines []provider.Machine
	Provider provider.Provider
	Bundle   *bundle.Bundle
	Vault    *vault.Client // the operator's, least privilege
	// SSH are the engines that sign SSH keys.
	SSH      vault.SSHEngines
	Desired  unit.Desired // any machine's, without Self
	Admin    *rest.Config // the administrator's
	Baseline []*unstructured.Unstructured
	// VaultAt speaks to Vault on some machines without any token, from the operator's seat.
	VaultAt func(ctx context.Context, machines ...provider.Machine) (*vault.Client, error)
	Now     func() time.Time
	// Network reads all that decides who reaches whom, as `ashlar network` does.
	Network func(context.Context) (*observe.Network, error)
	// Revoke takes certificates back, as `ashlar pki revoke` does. Forget strikes them off the list of what is refused: only for
	// those whose keys are gone.
	Revoke, Forget func(context.Context, []Taken) error
	// Audit reads Vault's log, as `ashlar pki audit` does.
	Audit func(context.Context) ([]audit.Event, error)

	// Planned is the network as it was planned, where machines are made by a plan; nil where it can only be observed.
	Planned func(context.Context) (*exposure.Graph, error)

	// What several claims look at is collected once.
	leavesOnce sync.Mutex
	leavesSeen []leaf
	// canary is held by whoever logs in as the canary: it has one password.
	canary sync.Mutex
}

// Expectation is what an attempt must come to for its claim to hold.
type Expectation string

// The expectations.
const (
	Refused Expectation = "refused"
	Allowed Expectation = "allowed"
)

// Kind is how something is known.
type Kind string

// The kinds of evidence.
const (
	// Observed is what happened to the live cluster.
	Observed Kind = "observed"
	// Planned is what is so by construction: it was proved over the network as OpenTofu has it, of what there is and what would change.
	Planned Kind = "proved from plan"
	// Impossible is what this cluster's machines cannot do, and need not: their kernel was not made for it.
	Impossible Kind = "not possible here"
)

// Evidence is one attempt: what, from where, as whom, and what came back.
type Evidence struct {
	Attempt string      `json:"attempt"`
	From    string      `json:"from,omitempty"`
	As      string      `json:"as,omitempty"`
	Want    Expectation `json:"want"`
	Got     Expectation `json:"got"`
	Answer  string      `json:"answer"` // in the words of whoever answered
	// Kind is how it is known.
	Kind Kind `json:"kind"`
	// Notice: it came out as it must, and people are told all the same.
	Notice bool `json:"notice,omitempty"`
}

func failed(e Evidence) bool { return !e.Held() }

// Held says whether the attempt came out as it must.
func (e Evidence) Held() bool { return e.Want != "" && e.Want == e.Got }

// Verdict is what became of a claim.
type Verdict string

// The verdicts.
const (
	Holds  Verdict = "holds"
	Broken Verdict = "broken"
	// Untried is a claim without evidence. It counts as broken.
	Untried Verdict = "untried"
	// Void is a claim about what no machine of the cluster can do. It neither holds nor is it broken.
	Void Verdict = "void"
)

// Good says that nothing is wrong: the claim holds, or there is nothing here that it could be about.
func (v Verdict) Good() bool { return v == Holds || v == Void }

// Result is a claim with what was found.
type Result struct {
	ID       string     `json:"id"`
	Claim    string     `json:"claim"`
	Verdict  Verdict    `json:"verdict"`
	Kind     Kind       `json:"kind"` // of its evidence
	Reason   string     `json:"reason,omitempty"`
	Evidence []Evidence `json:"evidence"`
	// Attempts is how often it took: an error in between gives no evidence, and is tried again.
	Attempts int     `json:"attempts"`
	Seconds  float64 `json:"seconds"`
}

// Decide turns evidence into a verdict. Nothing tried is nothing proved.
func Decide(evidence []Evidence, err error) (Verdict, string) {
	if err != nil {
		return Untried, err.Error()
	}
	if len(evidence) == 0 {
		return Untried, "no attempt was made"
	}
	i := slices.IndexFunc(evidence, failed)
	if i >= 0 {
		e := evidence[i]
		return Broken, fmt.Sprintf("%s was %s: %s", e.Attempt, e.Got, e.Answer)
	}
	if !slices.ContainsFunc(evidence, func(e Evidence) bool { return e.Kind != Impossible }) {
		return Void, evidence[0].Answer
	}
	return Holds, ""
}

// attempt makes evidence of what an attack returned: no error is Allowed, any other is Refused.
func attempt(what, from, as string, want Expectation, err error) Evidence {
	e := Evidence{Attempt: what, From: from, As: as, Want: want, Got: Allowed, Answer: "succeeded"}
	if err != nil {
		e.Got, e.Answer = Refused, err.Error()
	}
	return e
}

// probeTimeout bounds one claim, maxAttempts how often it is tried while that gives no evidence.
const (
	probeTimeout = 2 * time.Minute
	maxAttempts  = 3
)

// All lists every claim, in the order of the documentation.
func All() []Claim {
	return slices.Concat(pkiClaims, vaultClaims, authnClaims, authzClaims, networkClaims, exposureClaims, sshClaims, procClaims, resourceClaims, dataClaims)
}

// Verify tries the claims, a few at a time, and returns their results in order.
func Verify(ctx context.Context, t *Target, claims []Claim, done func(Result)) ([]Result, error) {
	results := make([]Result, len(claims))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, c := range claims {
		g.Go(func() error {
			results[i] = c.try(ctx, t)
			done(results[i])
			return ctx.Err()
		})
	}
	return results, g.Wait()
}

func (c Claim) try(ctx context.Context, t *Target) Result {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	began := time.Now()
	r := Result{ID: c.ID, Claim: c.Holds, Attempts: 1, Kind: Observed}
	for ; ; r.Attempts++ {
		var err error
		r.Evidence, err = c.Probe(ctx, t)
		for i := range r.Evidence {
			if r.Evidence[i].Kind == "" {
				r.Evidence[i].Kind = Observed
			}
			r.Kind = r.Evidence[i].Kind // a probe has either kind
		}
		r.Verdict, r.Reason = Decide(r.Evidence, err)
		// What could not be tried is tried again, as on a cluster that just lost a machine; but what was found before the
		// error stands.
		if err == nil || slices.ContainsFunc(r.Evidence, failed) || r.Attempts == maxAttempts || ctx.Err() != nil {
			break
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r
}

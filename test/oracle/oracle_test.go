// Package oracle asks Kubernetes' own authorizers and internal/authz the same questions.
package oracle

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/auth/authorizer/abac"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"ashlar.dev/ashlar/internal/authz"
)

var (
	pairs = flag.Int("oracle.n", 50_000, "how many pairs of a policy and a request to ask about, of each kind")
	seed  = flag.Uint64("oracle.seed", 0, "of the random policies; 0 picks one and prints it")
)

// perPolicy is how many requests each policy is asked about.
const perPolicy = 50

// policy is one policy as both sides understand it, and how it is written.
type policy struct {
	ours   *authz.Policy
	theirs authorizer.Authorizer
	source any
}

func TestABAC(t *testing.T) {
	dir := t.TempDir()
	compare(t, func(r random, worker int) (policy, error) {
		text := r.abac()
		ours, err := authz.ReadABAC(text, "policy")
		if err != nil {
			return policy{}, fmt.Errorf("%w\n%s", err, text)
		}
		path := filepath.Join(dir, strconv.Itoa(worker))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return policy{}, err
		}
		theirs, err := abac.NewFromFile(path)
		return policy{ours, theirs, strings.Split(string(text), "\n")}, err
	})
}

func TestRBAC(t *testing.T) {
	compare(t, func(r random, _ int) (policy, error) {
		o := r.rbac()
		ours, err := o.Policy()
		_, static := validation.NewTestRuleResolver(
			pointers(o.Roles), pointers(o.RoleBindings), pointers(o.ClusterRoles), pointers(o.ClusterRoleBindings))
		return policy{ours, rbac.New(static, static, static, static), o}, err
	})
}

func pointers[T any](s []T) []*T {
	out := make([]*T, len(s))
	for i := range s {
		out[i] = &s[i]
	}
	return out
}

// compare asks both sides about random policies, on all processors, until the first disagreement.
func compare(t *testing.T, generate func(r random, worker int) (policy, error)) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	var asked, allowed atomic.Int64
	var wait sync.WaitGroup
	start := time.Now()
	workers := runtime.NumCPU()
	for w := range workers {
		wait.Go(func() {
			for i := w; i < max(1, *pairs/perPolicy) && !t.Failed(); i += workers {
				r := random{rand.New(rand.NewPCG(first, uint64(i)))}
				p, err := generate(r, w)
				if err != nil {
					t.Error(err)
					return
				}
				for range perPolicy {
					asked.Add(1)
					if ask(t, p, r.request(p.ours)) {
						allowed.Add(1)
					}
				}
			}
		})
	}
	wait.Wait()
	share := 100 * allowed.Load() / max(1, asked.Load())
	t.Logf("%d pairs, %d %% allowed, in %s; -oracle.seed=%d", asked.Load(), share, time.Since(start).Round(time.Millisecond), first)
	if share < 10 || share > 90 {
		t.Errorf("%d %% are allowed: these requests hardly test anything", share)
	}
}

// ask returns what both say, and fails if they disagree.
func ask(t *testing.T, p policy, q authz.Request) bool {
	got, why := authz.Allowed(p.ours, q)
	decision, reason, _ := p.theirs.Authorize(context.Background(), attributes(q))
	if want := decision == authorizer.DecisionAllow; got != want {
		text, _ := json.MarshalIndent(p.source, "", " ")
		t.Errorf("%+v:\nours %t (%s), Kubernetes %t (%s)\n%s", q, got, why, want, reason, text)
	}
	return got
}

func attributes(q authz.Request) authorizer.Attributes {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: q.User, Groups: q.Groups}, Verb: q.Verb, ResourceRequest: q.ResourceRequest,
		APIGroup: q.APIGroup, APIVersion: "v1", Resource: q.Resource, Subresource: q.Subresource,
		Namespace: q.Namespace, Name: q.Name, Path: q.Path,
	}
}

package claim

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

var networkClaims = []Claim{
	{
		ID:    "api-internal",
		Says:  "In Toolkit deployments the API server instances are run and accessed through an internal ELB",
		Holds: "the API answers on the internal load balancer, to those who need it, and on nothing that the internet can reach",
		Probe: probeAPIInternal,
	},
	netPolicy,
	netDefault,
	netEgress,
	netMetadata,
	expNAT,
	expPlanes,
}

// dialTimeout is how long silence is taken for a refusal: the internet side gets no answer at all.
const dialTimeout = time.Second

// mayReachAPI says who may connect to the API's port on a machine of a role: clients to the load balancer, and it to the
// API servers.
func mayReachAPI(from, to v1alpha1.Role) bool {
	switch to {
	case v1alpha1.RoleLB:
		return from == provider.Operator || from == v1alpha1.RoleControlPlane || from == v1alpha1.RoleWorker || from == v1alpha1.RoleLB
	case v1alpha1.RoleControlPlane:
		return from == v1alpha1.RoleLB || from == v1alpha1.RoleControlPlane
	default:
		return false
	}
}

// probeAPIInternal connects to the API's port of every machine, from the internet, the operator, and every other machine.
func probeAPIInternal(ctx context.Context, t *Target) ([]Evidence, error) {
	if t.Planned != nil {
		return t.proved(ctx, provedAPIInternal)
	}
	from := vantages(t.Desired.Machines)
	doors := apiDoors(t)
	var evidence []Evidence
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	results := make(chan Evidence, len(from)*len(doors))
	for _, from := range from {
		for _, to := range doors {
			want := Refused
			// Of two API servers neither needs the other: only a machine's way to itself is open.
			if mayReachAPI(from.role, to.Role) && (from.role != v1alpha1.RoleControlPlane || to.Role != v1alpha1.RoleControlPlane || from.name == to.Name) {
				want = Allowed
			}
			g.Go(func() error {
				e, err := connect(ctx, t, from.name, to, want)
				results <- e
				return err
			})
		}
	}
	err := g.Wait()
	close(results)
	for e := range results {
		evidence = append(evidence, e)
	}
	return evidence, err
}

// apiDoors are all machines, and once more those that the internet knows, by their public address.
func apiDoors(t *Target) []unit.Machine {
	out := slices.Clone(t.Desired.Machines)
	for _, m := range t.Machines {
		if m.Public.IsValid() {
			out = append(out, unit.Machine{Name: m.Name + "'s public address", Address: m.Public})
		}
	}
	return out
}

func connect(ctx context.Context, t *Target, from string, to unit.Machine, want Expectation) (Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(to.Address.String(), strconv.Itoa(unit.PortAPIServer))
	conn, err := t.Provider.Dial(ctx, from, "tcp", address)
	if err == nil {
		err = conn.Close()
		if err != nil {
			return Evidence{}, err
		}
	}
	return attempt(fmt.Sprintf("connect to %s:%d", to.Name, unit.PortAPIServer), from, "nobody", want, err), nil
}

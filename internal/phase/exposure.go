package phase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/aws"
)

// Exposed is what the internet can reach of a cluster, held against what its file declares.
type Exposed struct {
	exposure.Comparison
	// Names are what addresses are called that are not known before they are made, and Assumed is what was taken for granted.
	Names   map[string]string `json:"names,omitempty"`
	Assumed []string          `json:"assumed,omitempty"`
	// Graph and Machines are what it was found in.
	Graph    *exposure.Graph    `json:"-"`
	Machines []provider.Machine `json:"-"`
}

// Exposure reads the network as it is; on AWS, as it will be when OpenTofu has done what is planned. It needs neither Vault nor Kubernetes.
func Exposure(ctx context.Context, c *Cluster) (*Exposed, error) {
	if c.Spec.Spec.Provider.AWS != nil { // as it is planned, so that there need not be any
		g, err := c.Provider.Graph(ctx)
		if err != nil {
			return nil, err
		}
		return exposed(c.Spec, nil, g), nil
	}
	if !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	g, err := c.Provider.Graph(ctx)
	if err != nil {
		return nil, err
	}
	return exposed(c.Spec, machines, g), nil
}

// ExposurePlanned reads the network as a plan of some modules would make it. It needs nothing that exists.
func ExposurePlanned(spec *v1alpha1.Cluster, plan *tfjson.Plan, modules fs.FS) (*Exposed, error) {
	if spec.Spec.Provider.AWS == nil {
		return nil, InputError{Err: errors.New("a plan is of machines on AWS, and these are not: leave out --plan")}
	}
	g, err := aws.GraphOf(plan, modules)
	if err != nil {
		return nil, InputError{Err: fmt.Errorf("read the plan's network: %w", err)}
	}
	return exposed(spec, nil, g), nil
}

func exposed(spec *v1alpha1.Cluster, machines []provider.Machine, g *exposure.Graph) *Exposed {
	s := exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6))
	out := &Exposed{Comparison: exposure.Compare(claim.Declared(spec, machines, g), s, g.Inside()), Assumed: g.Assumed, Graph: g, Machines: machines}
	out.name()
	return out
}

// name calls what stands for addresses that nobody knows yet by name.
func (x *Exposed) name() {
	var pairs []string
	used := map[string]string{}
	for a, name := range x.Graph.Names {
		used[a.String()] = name
		pairs = append(pairs, a.String(), name)
	}
	if len(pairs) == 0 {
		return
	}
	x.Names = used
	words := strings.NewReplacer(longestFirst(pairs)...)
	say := func(path []exposure.Step) []exposure.Step {
		path = slices.Clone(path)
		for i := range path {
			path[i].Says = words.Replace(path[i].Says)
		}
		return path
	}
	for i := range x.Declared {
		x.Declared[i].Path = say(x.Declared[i].Path)
	}
	for i := range x.Extra {
		x.Extra[i].Path = say(x.Extra[i].Path)
	}
}

// longestFirst sorts pairs for a Replacer, which takes the first that fits: 240.0.0.1 is the beginning of 240.0.0.12.
func longestFirst(pairs []string) []string {
	type pair struct{ old, new string }
	var all []pair
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, pair{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(all, func(a, b pair) int { return len(b.old) - len(a.old) })
	var out []string
	for _, p := range all {
		out = append(out, p.old, p.new)
	}
	return out
}

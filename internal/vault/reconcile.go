package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Drift is one object that is not as it should be.
type Drift struct {
	// Object names it: kind and path.
	Object string
	// Cause says what differs, Action what Apply does about it.
	Cause, Action string

	want, have *Object
}

func (d Drift) String() string { return d.Object + ": " + d.Cause + " → " + d.Action }

// AboutSSH says whether it is about an SSH engine, or about who may do what.
func (d Drift) AboutSSH() bool {
	o := d.want
	if o == nil {
		o = d.have
	}
	return o.Kind == KindSSHCA || o.Kind == KindSSHRole || o.Kind == KindPolicy || o.Kind == KindMount && strings.Contains(o.Path, "/ssh/")
}

// Observe reads everything that Vault holds under the cluster's name, and whatever want names. The operator's token
// suffices; if it was refused, the error is ErrDenied, and WithRoot can do it.
func Observe(ctx context.Context, c *Client, want State) (State, error) {
	o := observer{Client: c, want: want}
	objects, err := gather(ctx, slices.Sorted(maps.Keys(kinds)), func(ctx context.Context, k Kind) ([]Object, error) {
		out, err := kinds[k].observe(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("observe each %s: %w", k, err)
		}
		return out, nil
	})
	slices.SortFunc(objects, byPath)
	return State{Cluster: want.Cluster, Objects: objects}, err
}

// Diff compares: missing objects, differing ones, and those that should not be there.
func Diff(want, have State) []Drift {
	var out []Drift
	for _, w := range want.Objects {
		h := have.find(w.Kind, w.Path)
		if h == nil {
			out = append(out, Drift{Object: w.name(), Cause: "missing", Action: "create it", want: &w})
			continue
		}
		if causes := differences(w.Fields, h.Fields); len(causes) > 0 {
			out = append(out, Drift{Object: w.name(), Cause: strings.Join(causes, "; "), Action: "set it back", want: &w, have: h})
		}
	}
	for _, h := range have.Objects {
		if want.find(h.Kind, h.Path) != nil {
			continue
		}
		d := Drift{Object: h.name(), Cause: "should not be there", Action: "remove it", have: &h}
		if h.Kind == KindRootToken {
			d.Cause, d.Action = "still lives", "revoke it"
		}
		out = append(out, d)
	}
	return out
}

// Apply repairs drifts: in the order in which objects need each other, and side by side where they don't. It needs a
// root token; see WithRoot. One that cannot be repaired does not keep the others from it.
func Apply(ctx context.Context, c *Client, drifts []Drift) error {
	var failed []error
	for stage := range stages {
		var turn sync.Mutex
		errs, _ := gather(ctx, drifts, func(ctx context.Context, d Drift) ([]error, error) {
			if d.stage() != stage {
				return nil, nil
			}
			if stage == 0 {
				turn.Lock()
				defer turn.Unlock()
			}
			if err := retry(ctx, func() error { return d.apply(ctx, c) }); err != nil {
				return []error{fmt.Errorf("%s: %s: %w", d.Object, d.Action, err)}, nil
			}
			return nil, nil
		})
		failed = append(failed, errs...)
	}
	return errors.Join(failed...)
}

func (d Drift) stage() int {
	if d.want != nil {
		return d.want.stage()
	}
	return d.have.stage()
}

func (d Drift) apply(ctx context.Context, c *Client) error {
	if d.want != nil {
		return kinds[d.want.Kind].write(ctx, c, *d.want, d.have)
	}
	if remove := kinds[d.have.Kind].remove; remove != nil {
		return remove(ctx, c, *d.have)
	}
	return c.remove(ctx, d.have.Path)
}

func byPath(a, b Object) int {
	if n := a.stage() - b.stage(); n != 0 {
		return n
	}
	return strings.Compare(a.Path, b.Path)
}

func (o Object) name() string { return string(o.Kind) + " " + o.Path }

func (s State) of(k Kind) []Object {
	return slices.DeleteFunc(slices.Clone(s.Objects), func(o Object) bool { return o.Kind != k })
}

func (s State) find(k Kind, path string) *Object {
	for i := range s.Objects {
		if s.Objects[i].Kind == k && s.Objects[i].Path == path {
			return &s.Objects[i]
		}
	}
	return nil
}

func (s State) has(k Kind, path string) bool { return s.find(k, path) != nil }

// differences names the wanted fields that are otherwise.
func differences(want, have Fields) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, h := canonical(want[name]), canonical(have[name])
		switch {
		case w == h:
		case strings.Contains(w, `\n`):
			out = append(out, name+" differs: "+firstDifference(want[name], have[name]))
		default:
			out = append(out, fmt.Sprintf("%s is %s, should be %s", name, h, w))
		}
	}
	return out
}

func firstDifference(want, have any) string {
	w, _ := want.(string)
	h, _ := have.(string)
	a, b := strings.Split(w, "\n"), strings.Split(h, "\n")
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(b):
			return fmt.Sprintf("line %d %q is gone", i+1, a[i])
		case i >= len(a):
			return fmt.Sprintf("line %d %q is new", i+1, b[i])
		case a[i] != b[i]:
			return fmt.Sprintf("line %d is %q, should be %q", i+1, b[i], a[i])
		}
	}
	return "spacing"
}

// canonical makes values of Go and of Vault's JSON comparable: lists are sets, and nothing, null and empty are one.
func canonical(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	switch s := string(b); s {
	case "null", "{}":
		return "[]"
	default:
		var list []string
		if json.Unmarshal(b, &list) != nil {
			return s
		}
		slices.Sort(list)
		b, _ = json.Marshal(list) // strings
		return string(b)
	}
}

// fields reads an object as Vault returns it.
func (o observer) fields(ctx context.Context, path string) (Fields, error) {
	f := Fields{}
	return f, o.get(ctx, path, &f)
}

// readAll reads each object below path whose name passes the filter.
func (o observer) readAll(ctx context.Context, k Kind, path string, filter func(string) bool, read func(context.Context, string) (Fields, error)) ([]Object, error) {
	names, err := o.list(ctx, path)
	if err != nil {
		return nil, err
	}
	return gather(ctx, names, func(ctx context.Context, name string) ([]Object, error) {
		if filter != nil && !filter(name) {
			return nil, nil
		}
		f, err := read(ctx, path+"/"+name)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // removed in between
		}
		return []Object{{k, path + "/" + name, f}}, err
	})
}

// gather runs f on each item side by side, and returns what they return, in their order.
func gather[T, R any](ctx context.Context, items []T, f func(context.Context, T) ([]R, error)) ([]R, error) {
	results := make([][]R, len(items))
	g, ctx := errgroup.WithContext(ctx)
	for i, item := range items {
		g.Go(func() (err error) {
			results[i], err = f(ctx, item)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(results...), err
}

package baseline

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// manager is who the API server says owns the fields of the baseline.
const manager = "ashlar"

// Drift is an object that is not as the baseline has it.
type Drift struct {
	// Object is its kind, namespace and name.
	Object string
	Cause  string
	Action string

	action action
	wanted *unstructured.Unstructured // nil: the object shall not exist
	live   *unstructured.Unstructured // nil: it does not exist
}

func (d Drift) String() string { return d.Object + ": " + d.Cause + " → " + d.Action }

type action string

const (
	create  action = "create it"
	apply   action = "set it back"
	replace action = "replace it" // fields of others are in the way, which applying ours would leave
	remove  action = "delete it"
)

// Observe names what differs between a cluster and the objects. The API server itself works out each difference, by a
// dry run: so a default that it fills in is none.
func Observe(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) ([]Drift, error) {
	client, err := connect(config)
	if err != nil {
		return nil, err
	}
	return observe(ctx, client, objects)
}

// connect makes a client that does not slow itself down: the baseline is some dozens of requests at once.
func connect(config *rest.Config) (dynamic.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	// A dry run warns about pods that a namespace's labels do not fit; that is for `kubectl`'s users.
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return client, nil
}

func observe(ctx context.Context, client dynamic.Interface, objects []*unstructured.Unstructured) ([]Drift, error) {
	live, err := list(ctx, client)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var out []Drift
	group, ctx := errgroup.WithContext(ctx)
	for _, o := range objects {
		group.Go(func() error {
			d, err := compare(ctx, client, o, live[id(o)])
			if err != nil {
				return fmt.Errorf("baseline: compare %s: %w", id(o), err)
			}
			if d != nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, *d)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out = append(out, unwanted(objects, live)...)
	slices.SortFunc(out, func(a, b Drift) int { return strings.Compare(a.Object, b.Object) })
	return out, nil
}

// list reads all objects that carry the baseline's labels, by id.
func list(ctx context.Context, client dynamic.Interface) (map[string]*unstructured.Unstructured, error) {
	var mu sync.Mutex
	out := map[string]*unstructured.Unstructured{}
	group, ctx := errgroup.WithContext(ctx)
	for gvk, k := range kinds {
		group.Go(func() error {
			l, err := client.Resource(k.resource).List(ctx, metav1.ListOptions{LabelSelector: LabelManagedBy + "=" + managedBy + "," + LabelPartOf + "=" + partOf})
			if err != nil {
				return fmt.Errorf("baseline: list %s: %w", k.resource.Resource, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range l.Items {
				l.Items[i].SetGroupVersionKind(gvk)
				out[id(&l.Items[i])] = &l.Items[i]
			}
			return nil
		})
	}
	return out, group.Wait()
}

// unwanted are objects of an earlier baseline.
func unwanted(objects []*unstructured.Unstructured, live map[string]*unstructured.Unstructured) []Drift {
	wanted := map[string]bool{}
	for _, o := range objects {
		wanted[id(o)] = true
	}
	var out []Drift
	for name, o := range live {
		if !wanted[name] && !kinds[o.GroupVersionKind()].keep && o.GetDeletionTimestamp() == nil {
			out = append(out, Drift{Object: name, Cause: "is no longer part of the baseline", Action: string(remove), action: remove, live: o})
		}
	}
	return out
}

// compare asks the API server what applying the object would change. live may be nil: without our labels it is not
// in the list, but may exist.
func compare(ctx context.Context, client dynamic.Interface, o, live *unstructured.Unstructured) (*Drift, error) {
	if live == nil {
		found, err := at(client, o).Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return &Drift{Object: id(o), Cause: "does not exist", Action: string(create), action: create, wanted: o}, nil
		} else if err != nil {
			return nil, err
		}
		live = found
	}
	applied, err := patch(ctx, client, o, true)
	if err != nil {
		return nil, err
	}
	// Who owns a field is asked of the dry run: there, all that we name is ours again.
	if fields := foreign(applied); len(fields) > 0 {
		return &Drift{Object: id(o), Cause: "has been added to: " + strings.Join(fields, ", "), Action: string(replace), action: replace, wanted: o, live: live}, nil
	}
	if field := differs(live.Object, applied.Object); field != "" {
		return &Drift{Object: id(o), Cause: "differs in " + field, Action: string(apply), action: apply, wanted: o, live: live}, nil
	}
	return nil, nil
}

func patch(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	options := metav1.ApplyOptions{FieldManager: manager, Force: true}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return at(client, o).Apply(ctx, o.GetName(), o, options)
}

// differs returns the first field, as a path, in which two versions of an object differ, leaving aside what the
// server keeps for itself.
func differs(a, b map[string]any) string {
	for _, key := range keys(a, b) {
		switch key {
		case "status":
		case "metadata":
			am, _ := a[key].(map[string]any)
			bm, _ := b[key].(map[string]any)
			for _, field := range []string{"labels", "annotations", "ownerReferences", "finalizers"} {
				if !reflect.DeepEqual(am[field], bm[field]) {
					return key + "." + field
				}
			}
		default:
			if am, ok := a[key].(map[string]any); ok {
				if bm, ok := b[key].(map[string]any); ok {
					if field := differsDeep(am, bm); field != "" {
						return key + "." + field
					}
					continue
				}
			}
			if !reflect.DeepEqual(a[key], b[key]) {
				return key
			}
		}
	}
	return ""
}

func differsDeep(a, b map[string]any) string {
	for _, key := range keys(a, b) {
		if reflect.DeepEqual(a[key], b[key]) {
			continue
		}
		am, aok := a[key].(map[string]any)
		bm, bok := b[key].(map[string]any)
		if aok && bok {
			return key + "." + differsDeep(am, bm)
		}
		return key
	}
	return ""
}

func keys(a, b map[string]any) []string {
	var out []string
	for key := range a {
		out = append(out, key)
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// foreign returns the fields that somebody else has added to what we apply: a condition that exempts from a policy,
// a second container. Server-side apply leaves them alone, so they must be looked for.
func foreign(live *unstructured.Unstructured) []string {
	ours, theirs := &fieldpath.Set{}, &fieldpath.Set{}
	for _, entry := range live.GetManagedFields() {
		if entry.FieldsV1 == nil || entry.Subresource != "" {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return []string{"fields that cannot be told: " + err.Error()}
		}
		if entry.Manager == manager {
			ours = ours.Union(set)
		} else {
			theirs = theirs.Union(set)
		}
	}
	var out []string
	theirs.Difference(ours).Leaves().Iterate(func(p fieldpath.Path) {
		if !harmless(p, live) {
			out = append(out, strings.TrimPrefix(p.String(), "."))
		}
	})
	return out
}

// harmless fields belong to the server, its controllers or the cluster's users.
func harmless(p fieldpath.Path, live *unstructured.Unstructured) bool {
	if len(p) == 0 || p[0].FieldName == nil {
		return true
	}
	switch *p[0].FieldName {
	case "metadata", "status":
		return true // labels and annotations are anybody's to add
	case "secrets", "imagePullSecrets":
		return live.GetKind() == "ServiceAccount"
	}
	// `kubectl rollout restart` writes down when.
	return strings.Contains(p.String(), "restartedAt")
}

// strip returns an object as it is sent to replace a live one: ours, with the identity of that one and with what
// cannot change about it.
func strip(o, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &out.Object); err != nil {
		return nil, err
	}
	out.SetResourceVersion(live.GetResourceVersion())
	out.SetUID(live.GetUID())
	labels, annotations := live.GetLabels(), live.GetAnnotations()
	for key, value := range o.GetLabels() {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	for key, value := range o.GetAnnotations() {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
	}
	out.SetLabels(labels)
	out.SetAnnotations(annotations)
	out.SetFinalizers(live.GetFinalizers())
	out.SetOwnerReferences(live.GetOwnerReferences())
	return out, nil
}

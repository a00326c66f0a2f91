package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Apply makes the cluster's baseline these objects, and returns what it changed. An API server that has just started
// refuses some things for a moment; Apply asks again until ctx ends.
func Apply(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) ([]Drift, error) {
	client, err := connect(config)
	if err != nil {
		return nil, err
	}
	var drift []Drift
	if err := retry(ctx, func() error {
		drift, err = observe(ctx, client, objects)
		return err
	}); err != nil {
		return nil, err
	}
	// Namespaces first; then all at once.
	for _, first := range []bool{true, false} {
		group, ctx := errgroup.WithContext(ctx)
		for _, d := range drift {
			if first != (d.wanted != nil && order(d.wanted) == 0) {
				continue
			}
			group.Go(func() error {
				if err := retry(ctx, func() error { return d.repair(ctx, client) }); err != nil {
					return fmt.Errorf("baseline: %s of %s: %w", strings.TrimSuffix(d.Action, " it"), d.Object, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return drift, nil
}

func (d Drift) repair(ctx context.Context, client dynamic.Interface) error {
	switch d.action {
	case remove:
		uid := d.live.GetUID()
		err := at(client, d.live).Delete(ctx, d.live.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	case replace:
		live, err := at(client, d.wanted).Get(ctx, d.wanted.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		o, err := strip(d.wanted, live)
		if err != nil {
			return err
		}
		if _, err := at(client, o).Update(ctx, o, metav1.UpdateOptions{FieldManager: manager}); err != nil {
			return err
		}
	}
	_, err := patch(ctx, client, d.wanted, false)
	if freed, failed := freeAddress(ctx, client, d.wanted, err); freed && failed == nil {
		_, err = patch(ctx, client, d.wanted, false)
	}
	return err
}

// retry calls again while the answer is one that passes by itself.
func retry(ctx context.Context, call func() error) error {
	for wait := 20 * time.Millisecond; ; wait = min(wait*2, 500*time.Millisecond) {
		err := call()
		if err == nil || !passing(err) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(ctx))
		case <-timer.C:
		}
	}
}

// passing holds for what an API server answers while it starts, or while the baseline is only half there.
func passing(err error) bool {
	var network *url.Error
	switch {
	case errors.As(err, &network):
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "x509:")
	case errors.Is(err, io.ErrUnexpectedEOF): // cut off amid an answer: the load balancer gave the server up
		return true
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsInternalError(err), // "no endpoints", an allocator that has not read its state
		apierrors.IsConflict(err),
		apierrors.IsNotFound(err): // its namespace
		return true
	case apierrors.IsForbidden(err): // admission has not synchronised
		return strings.Contains(err.Error(), "not yet ready to handle request")
	}
	return false
}

// Ready waits until CoreDNS answers: enough replicas of its newest version are available.
func Ready(ctx context.Context, config *rest.Config) error {
	client, err := connect(config)
	if err != nil {
		return err
	}
	state := "it has not been looked at"
	for ready := false; !ready; {
		if err := retry(ctx, func() error {
			ready, state, err = watchCoreDNS(ctx, client, state)
			return err
		}); err != nil {
			return fmt.Errorf("baseline: wait for CoreDNS: %s: %w; `ashlar kubectl -n kube-system describe pods` says more", state, err)
		}
	}
	return nil
}

// watchCoreDNS follows the Deployment until it is available, or until the server ends the watch.
func watchCoreDNS(ctx context.Context, client dynamic.Interface, state string) (bool, string, error) {
	deployments := client.Resource(apps.WithResource("deployments")).Namespace("kube-system")
	options := metav1.ListOptions{FieldSelector: "metadata.name=coredns"}
	list, err := deployments.List(ctx, options)
	if err != nil {
		return false, state, err
	}
	state = "it does not exist"
	for i := range list.Items {
		var available bool
		if available, state = deploymentAvailable(&list.Items[i]); available {
			return true, state, nil
		}
	}
	options.ResourceVersion = list.GetResourceVersion()
	watcher, err := deployments.Watch(ctx, options)
	if err != nil {
		return false, state, err
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, state, context.Cause(ctx)
		case event, open := <-watcher.ResultChan():
			d, ok := event.Object.(*unstructured.Unstructured)
			if !open || !ok {
				return false, state, nil
			}
			var available bool
			if available, state = deploymentAvailable(d); available && event.Type != watch.Deleted {
				return true, state, nil
			}
		}
	}
}

// deploymentAvailable says whether a Deployment serves, or why not.
func deploymentAvailable(d *unstructured.Unstructured) (bool, string) {
	observed, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
	if observed < d.GetGeneration() {
		return false, "its controller has not seen it"
	}
	conditions, _, _ := unstructured.NestedSlice(d.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["type"] == "Available" {
			return condition["status"] == "True", fmt.Sprint(condition["message"])
		}
	}
	return false, "no replica has started"
}

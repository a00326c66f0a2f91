package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
)

const (
	// admissionRounds is how often the policies are taken away and put back, podsMeasured how many pods are made each time.
	admissionRounds = 5
	podsMeasured    = 100
	// podPolicies is how those are called that every pod is asked about.
	podPolicies = "ashlar-pod-"
)

// admission measures what the policies about pods' classes add to making a pod: of a restricted one, which most are, and of one
// whose class takes a look at who may use it.
func admission(file string, sample func(string, float64)) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t, done, err := opened(ctx, file)
	if err != nil {
		return err
	}
	defer done()
	bed, err := newAdmissionBed(ctx, t.Admin)
	if err != nil {
		return err
	}
	defer bed.remove()
	for range admissionRounds {
		with, err := bed.measure(ctx, true)
		if err != nil {
			return err
		}
		put, err := bed.take(ctx)
		if err != nil {
			return errors.Join(err, put(ctx))
		}
		without, err := bed.measure(ctx, false)
		if err = errors.Join(err, put(ctx)); err != nil {
			return err
		}
		for class := range with {
			sample("admission/"+class+" with", with[class])
			sample("admission/"+class+" without", without[class])
			sample("admission/"+class+" difference", with[class]-without[class])
		}
	}
	return nil
}

// admissionBed is where pods are made.
type admissionBed struct {
	client    kubernetes.Interface
	objects   dynamic.Interface
	namespace string
}

func newAdmissionBed(ctx context.Context, config *rest.Config) (*admissionBed, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ns, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-admission-",
		Labels: isolation.LevelLabels(isolation.Restricted)}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make a namespace to measure in: %w", err)
	}
	bed := &admissionBed{client, objects, ns.Name}
	_, err = client.CoreV1().ServiceAccounts(ns.Name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		bed.remove()
		return nil, fmt.Errorf("make a ServiceAccount: %w", err)
	}
	return bed, nil
}

func (b *admissionBed) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = b.client.CoreV1().Namespaces().Delete(ctx, b.namespace, metav1.DeleteOptions{})
}

// measure makes pods, one of each class in turn, and returns the medians in milliseconds, once the policies hold or no longer do.
func (b *admissionBed) measure(ctx context.Context, hold bool) (map[string]float64, error) {
	if err := b.settle(ctx, hold); err != nil {
		return nil, err
	}
	taken, now := map[string][]float64{}, int64(0)
	for range podsMeasured {
		for _, class := range []string{isolation.Restricted, isolation.Privileged} {
			pod := standard.Keeps()
			pod.GenerateName, pod.Labels[isolation.LabelClass] = "bench-", class
			began := time.Now()
			made, err := b.client.CoreV1().Pods(b.namespace).Create(ctx, pod, metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("make a pod: %w", err)
			}
			taken[class] = append(taken[class], float64(time.Since(began).Microseconds())/1000)
			if err := b.client.CoreV1().Pods(b.namespace).Delete(ctx, made.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
				return nil, fmt.Errorf("remove a pod: %w", err)
			}
		}
	}
	medians := map[string]float64{}
	for class, ms := range taken {
		medians[class] = spreadOf(ms).Median
	}
	return medians, nil
}

// settle waits until the policy refuses what it has to, or leaves that to Pod Security.
func (b *admissionBed) settle(ctx context.Context, hold bool) error {
	for {
		pod := standard.For(standard.Privileged)[0].Pod(standard.InContainer)
		pod.GenerateName = "bench-"
		_, err := b.client.CoreV1().Pods(b.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), isolation.PolicyName) == hold {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the policies hold: wanted %t, but a privileged pod: %w", hold, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// take takes away the bindings of all policies that pods are asked about, and returns what puts them back.
func (b *admissionBed) take(ctx context.Context) (put func(context.Context) error, err error) {
	type binding struct {
		of schema.GroupVersionResource
		*unstructured.Unstructured
	}
	var taken []binding
	put = func(ctx context.Context) error {
		var errs []error
		for _, o := range taken {
			_, err := b.objects.Resource(o.of).Create(ctx, o.Unstructured, metav1.CreateOptions{})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	for _, kind := range []string{"validatingadmissionpolicybindings", "mutatingadmissionpolicybindings"} {
		of := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: kind}
		list, err := b.objects.Resource(of).List(ctx, metav1.ListOptions{})
		if err != nil {
			return put, fmt.Errorf("list %s: %w", kind, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if !strings.HasPrefix(o.GetName(), podPolicies) {
				continue
			}
			if err := b.objects.Resource(of).Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil {
				return put, fmt.Errorf("take away %s %s: %w", kind, o.GetName(), err)
			}
			o.SetResourceVersion("")
			o.SetUID("")
			taken = append(taken, binding{of, o})
		}
	}
	return put, nil
}

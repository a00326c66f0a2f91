package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// LeaseName is the lease of whoever of the controllers works; the others wait.
const LeaseName = "ashlar-baseline-controller"

const (
	// look is how often the declared access is read again: `up` waits for it to take effect.
	look = time.Second
	// retryFirst and retryLast bound how soon a change that failed is tried again.
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
)

// Options configure the controller.
type Options struct {
	Config *rest.Config
	// Identity tells the controllers of several machines apart.
	Identity string
	// Access reads what is declared.
	Access   func() (unit.Access, error)
	Policies func() (Policies, error)
	// Isolation reads what is declared of pods' classes and namespaces' tiers.
	Isolation func() (v1alpha1.Isolation, error)
	// Gone asks a cloud which of some instances will never come back; nil where machines are not a cloud's.
	Gone func(ctx context.Context, instances []string) ([]string, error)
	Log  *slog.Logger
}

// Run works whenever it leads, until ctx ends.
func Run(ctx context.Context, o Options) error {
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return err
	}
	lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: LeaseName},
		Client: client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity}}
	var failed error
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 8 * time.Second, RenewDeadline: 5 * time.Second, RetryPeriod: time.Second, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				var forgetting sync.WaitGroup
				if o.Gone != nil {
					forgetting.Go(func() { forget(ctx, client, o) })
				}
				failed = lead(ctx, client, o)
				forgetting.Wait()
			},
			OnStoppedLeading: func() {},
		},
	})
	if ctx.Err() != nil {
		return nil
	}
	// Its supervisor starts it again, with nothing in memory of what it last saw.
	return errors.Join(errors.New("another leads now"), failed)
}

// lead converges the cluster, each time that something it looks at has changed.
func lead(ctx context.Context, client kubernetes.Interface, o Options) error {
	changed := make(chan struct{}, 1)
	w, err := watch(ctx, client, changed)
	if err != nil {
		return err
	}
	declared, err := o.declared()
	if err != nil {
		return err
	}
	var seen string
	for retry := retryFirst; ; {
		snapshot, err := w.snapshot()
		if err != nil {
			return err
		}
		wait := look
		if err := converge(ctx, client, declared.plan(snapshot), o.Log); err != nil {
			if err.Error() != seen {
				seen = err.Error()
				o.Log.Error("converge", "error", err)
			}
			wait, retry = retry, min(2*retry, retryLast)
		} else {
			retry, seen = retryFirst, ""
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		if now, err := o.declared(); err == nil {
			declared = now
		} else {
			o.Log.Error("read what is declared", "error", err)
		}
	}
}

// declared is all that namespaces must have.
type declared struct {
	access    unit.Access
	policies  Policies
	isolation v1alpha1.Isolation
}

func (o Options) declared() (d declared, err error) {
	var errs [3]error
	d.access, errs[0] = o.Access()
	d.policies, errs[1] = o.Policies()
	d.isolation, errs[2] = o.Isolation()
	return d, errors.Join(errs[:]...)
}

func (d declared) plan(s Snapshot) []Change {
	return slices.Concat(Plan(d.access, d.isolation, s), PlanPolicies(d.policies, s), PlanQuotas(d.isolation, s), PlanLevels(d.isolation, s))
}

// watched is what the controller knows of the cluster, kept up to date by watches.
type watched struct {
	informers.SharedInformerFactory
}

func watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{}) (watched, error) {
	w := watched{informers.NewSharedInformerFactory(client, 0)}
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // there is a notice already
		}
	}
	for _, i := range []cache.SharedIndexInformer{w.Core().V1().Namespaces().Informer(), w.Core().V1().ServiceAccounts().Informer(),
		w.Rbac().V1().RoleBindings().Informer(), w.Rbac().V1().ClusterRoleBindings().Informer(),
		w.Networking().V1().NetworkPolicies().Informer(), w.Core().V1().LimitRanges().Informer(), w.Core().V1().ResourceQuotas().Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { notify() },
			UpdateFunc: func(any, any) { notify() }, DeleteFunc: func(any) { notify() }}); err != nil {
			return w, err
		}
	}
	w.Start(ctx.Done())
	for kind, ok := range w.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return w, fmt.Errorf("could not read each %v", kind)
		}
	}
	return w, nil
}

func (w watched) snapshot() (s Snapshot, err error) {
	all := labels.Everything()
	var errs [7]error
	s.Namespaces, errs[0] = w.Core().V1().Namespaces().Lister().List(all)
	s.ServiceAccounts, errs[1] = w.Core().V1().ServiceAccounts().Lister().List(all)
	s.RoleBindings, errs[2] = w.Rbac().V1().RoleBindings().Lister().List(all)
	s.ClusterRoleBindings, errs[3] = w.Rbac().V1().ClusterRoleBindings().Lister().List(all)
	s.NetworkPolicies, errs[4] = w.Networking().V1().NetworkPolicies().Lister().List(all)
	s.LimitRanges, errs[5] = w.Core().V1().LimitRanges().Lister().List(all)
	s.ResourceQuotas, errs[6] = w.Core().V1().ResourceQuotas().Lister().List(all)
	return s, errors.Join(errs[:]...)
}

// converge makes the changes. What the watches have not shown yet is no failure: it is looked at again once they have.
func converge(ctx context.Context, client kubernetes.Interface, changes []Change, log *slog.Logger) error {
	var errs []error
	for _, c := range changes {
		err := c.make(ctx, client)
		switch {
		case err == nil:
			log.Info(string(c.Verb), "object", c.Name(), "because", c.Why)
		case apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
		default:
			errs = append(errs, fmt.Errorf("%s %s: %w", c.Verb, c.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (c Change) make(ctx context.Context, client kubernetes.Interface) error {
	if c.Verb == Replace {
		o := c.Object
		if err := (Change{Delete, o, c.Why}).make(ctx, client); err != nil {
			return err
		}
		o.SetResourceVersion("")
		return Change{Create, o, c.Why}.make(ctx, client)
	}
	name := c.Object.GetName()
	switch o := c.Object.(type) {
	case *corev1.Namespace:
		patch, err := levelPatch(o)
		if err != nil {
			return err
		}
		_, err = client.CoreV1().Namespaces().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	case *corev1.ServiceAccount:
		_, err := client.CoreV1().ServiceAccounts(o.Namespace).Patch(ctx, name, types.MergePatchType,
			[]byte(`{"automountServiceAccountToken":false}`), metav1.PatchOptions{})
		return err
	case *networkingv1.NetworkPolicy:
		return change(ctx, client.NetworkingV1().NetworkPolicies(o.Namespace), c.Verb, o)
	case *corev1.LimitRange:
		return change(ctx, client.CoreV1().LimitRanges(o.Namespace), c.Verb, o)
	case *corev1.ResourceQuota:
		return change(ctx, client.CoreV1().ResourceQuotas(o.Namespace), c.Verb, o)
	case *rbacv1.RoleBinding:
		return change(ctx, client.RbacV1().RoleBindings(o.Namespace), c.Verb, o)
	case *rbacv1.ClusterRoleBinding:
		return change(ctx, client.RbacV1().ClusterRoleBindings(), c.Verb, o)
	}
	return fmt.Errorf("%T is no object of the controller's", c.Object)
}

type writer[T metav1.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

func change[T metav1.Object](ctx context.Context, to writer[T], v Verb, o T) (err error) {
	switch v {
	case Create:
		_, err = to.Create(ctx, o, metav1.CreateOptions{})
	case Update:
		_, err = to.Update(ctx, o, metav1.UpdateOptions{})
	case Delete:
		err = to.Delete(ctx, o.GetName(), metav1.DeleteOptions{})
	}
	return err
}

// Observe says what differs in a live cluster, by one look.
func Observe(ctx context.Context, config *rest.Config, a unit.Access, p Policies, i v1alpha1.Isolation) ([]Change, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	all := metav1.ListOptions{}
	namespaces, err1 := client.CoreV1().Namespaces().List(ctx, all)
	accounts, err2 := client.CoreV1().ServiceAccounts("").List(ctx, all)
	bindings, err3 := client.RbacV1().RoleBindings("").List(ctx, all)
	clusterBindings, err4 := client.RbacV1().ClusterRoleBindings().List(ctx, all)
	policies, err5 := client.NetworkingV1().NetworkPolicies("").List(ctx, all)
	ranges, err6 := client.CoreV1().LimitRanges("").List(ctx, all)
	quotas, err7 := client.CoreV1().ResourceQuotas("").List(ctx, all)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return nil, fmt.Errorf("look at each namespace: %w", err)
	}
	return declared{a, p, i}.plan(Snapshot{Namespaces: pointers(namespaces.Items), ServiceAccounts: pointers(accounts.Items),
		RoleBindings: pointers(bindings.Items), ClusterRoleBindings: pointers(clusterBindings.Items), NetworkPolicies: pointers(policies.Items),
		LimitRanges: pointers(ranges.Items), ResourceQuotas: pointers(quotas.Items)}), nil
}

func pointers[T any](of []T) []*T {
	out := make([]*T, len(of))
	for i := range of {
		out[i] = &of[i]
	}
	return out
}

package claim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	podclass "ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
)

var procPrivileged = Claim{
	ID: "proc-privileged",
	Says: "Using Kubernetes' Pod Security Policies, certain more privileged Pod configurations can be limited to specific Roles. With this you could limit " +
		"the creation of Privileged Pods, Usage of root user in container, mounting of HostVolumes and many more",
	Holds: "what a control of the Pod Security Standards forbids, only pods do whose class allows it, and a class only those use who are granted it",
	Probe: probePrivileged,
}

// podAttempt is a pod that somebody asks for.
type podAttempt struct {
	what, who string
	client    kubernetes.Interface
	namespace string
	pod       *corev1.Pod
	want      Expectation
	dry       bool
	// gate is who must be the one that refuses, if it is one of several.
	gate string
}

// Who refuses pods for what they ask of the machine.
const (
	gateClass = podclass.PolicyName
	gateLevel = "violates PodSecurity"
)

// probePrivileged breaks each control, in each class, as those who may use the class and as those who may not: by dry run, and
// in earnest where nothing comes of it. No pod is ever started: no scheduler takes them.
func probePrivileged(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	own, remove, err := scratch(ctx, admin, "ashlar-verify-class-")
	if err != nil {
		return nil, err
	}
	defer remove()
	// Kubernetes makes one in a moment.
	_, err = admin.CoreV1().ServiceAccounts(own).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make a ServiceAccount in %s: %w", own, err)
	}
	list, err := admin.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	p := privileges{Target: t, admin: admin, own: own, labels: map[string]map[string]string{}, classes: podclass.Classes(t.Spec.Spec.Isolation)}
	for _, ns := range list.Items {
		if ns.DeletionTimestamp == nil && !strings.HasPrefix(ns.Name, "ashlar-verify-") { // other probes' come and go
			p.namespaces = append(p.namespaces, ns.Name)
			p.labels[ns.Name] = ns.Labels
		}
	}
	if err := p.makers(ctx, own); err != nil {
		return nil, err
	}
	attempts := p.ungranted()
	second, err := p.secondLine(ctx)
	if err != nil {
		return nil, err
	}
	attempts = append(attempts, second...)
	for _, ns := range p.namespaces {
		more, done, err := p.granted(ctx, ns)
		defer done()
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, more...)
	}
	evidence, err := p.try(ctx, attempts)
	if err != nil {
		return evidence, err
	}
	changes, err := p.changes(ctx)
	if evidence = append(evidence, changes...); err != nil {
		return evidence, err
	}
	reviews, err := p.everybody(ctx)
	return append(evidence, reviews...), err
}

type privileges struct {
	*Target
	admin      kubernetes.Interface
	own        string // a namespace in which nothing is granted
	namespaces []string
	labels     map[string]map[string]string // of namespaces
	classes    []podclass.Class
}

// maker is a group whose members may make pods in the namespaces that a probe tries in, and nothing else.
func (p privileges) maker() string { return p.own + ":makers" }

// makers lets them, in a namespace.
func (p privileges) makers(ctx context.Context, namespace string) error {
	_, err := p.admin.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: p.own}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"pods/ephemeralcontainers"}, Verbs: []string{"patch"}},
	}}, metav1.CreateOptions{})
	if err == nil {
		_, err = p.admin.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: p.own},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: p.own},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: p.maker()}}}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("let somebody make pods in %s: %w", namespace, err)
	}
	return nil
}

// as is a client of somebody who may make pods.
func (p privileges) as(user string, groups ...string) kubernetes.Interface {
	config := rest.CopyConfig(p.Admin)
	config.QPS = -1
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated", p.maker())}
	return kubernetes.NewForConfigOrDie(config) // the administrator's was good
}

// account is a client of a ServiceAccount.
func (p privileges) account(namespace, name string) kubernetes.Interface {
	return p.as("system:serviceaccount:"+namespace+":"+name, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
}

// ungranted is everything in every class where nothing is granted. Who is trusted to make pods for others is trusted with no class.
func (p privileges) ungranted() []podAttempt {
	var out []podAttempt
	nobody := p.as("ashlar:nobody")
	for _, dry := range []bool{true, false} {
		out = append(out, podAttempt{"a pod that keeps the strictest standard", "nobody in particular", nobody, p.own,
			pod(nil, standard.InPod, podclass.Restricted), Allowed, dry, ""})
		for who, client := range map[string]kubernetes.Interface{"nobody in particular": nobody, "a ServiceAccount": p.account(p.own, "default"),
			"the ReplicaSets' controller": p.account("kube-system", "replicaset-controller")} {
			for _, class := range p.classes {
				if class.Name != podclass.Restricted {
					out = append(out, podAttempt{"a pod of class " + class.Name, who, client, p.own,
						pod(nil, standard.InPod, class.Name), Refused, dry, gateClass})
				}
				for _, f := range standard.Fixtures {
					for _, at := range f.Places() {
						if at == standard.InEphemeral || dry && class.Name != podclass.Restricted || !dry && at != f.Places()[0] {
							continue
						}
						out = append(out, podAttempt{f.Name + " in a " + string(at) + ", of class " + class.Name, who, client, p.own,
							pod(&f, at, class.Name), Refused, dry, gateClass})
					}
				}
			}
		}
	}
	return append(out, podAttempt{"a pod of a class that there is not", "operator", p.admin, p.own, pod(nil, standard.InPod, "ashlar-none"), Refused, false, gateClass})
}

// granted is everything that those can do to whom a class is granted in a namespace, by dry run, and nobody else; done takes back
// that they may make pods there.
func (p privileges) granted(ctx context.Context, namespace string) (attempts []podAttempt, done func(), err error) {
	done = func() {}
	bindings := podclass.Bindings(p.Spec.Spec.Isolation, namespace, p.labels[namespace])
	if len(bindings) == 0 {
		return nil, done, nil
	}
	done = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout/10)
		defer cancel()
		_ = p.admin.RbacV1().RoleBindings(namespace).Delete(ctx, p.own, metav1.DeleteOptions{})
		_ = p.admin.RbacV1().Roles(namespace).Delete(ctx, p.own, metav1.DeleteOptions{})
	}
	if err := p.makers(ctx, namespace); err != nil {
		return nil, done, err
	}
	for _, class := range p.classes {
		i := slices.IndexFunc(bindings, func(b rbacv1.RoleBinding) bool { return b.Name == podclass.RoleName(class.Name) })
		if i < 0 || class.Name == podclass.Restricted {
			continue
		}
		subjects, account := bindings[i].Subjects, byDefault(namespace)
		add := func(what, who string, client kubernetes.Interface, pod *corev1.Pod, may bool) {
			a := podAttempt{what + ", in " + namespace, who, client, namespace, pod, Refused, true, ""}
			if may && len(class.Check(&pod.ObjectMeta, &pod.Spec)) == 0 {
				a.want = Allowed
			}
			attempts = append(attempts, a)
		}
		for _, f := range append([]standard.Fixture{{Name: "nothing"}}, standard.Fixtures...) {
			what := fmt.Sprintf("%s, of class %s", f.Name, class.Name)
			add(what, "nobody in particular", p.as("ashlar:nobody"), pod(&f, f.Places()[0], class.Name), granted(subjects, account))
			for _, s := range subjects {
				switch s.Kind {
				case rbacv1.UserKind:
					add(what, "user "+s.Name, p.as(s.Name), pod(&f, f.Places()[0], class.Name), true)
				case rbacv1.GroupKind:
					add(what, "group "+s.Name, p.as("ashlar:nobody", s.Name), pod(&f, f.Places()[0], class.Name), true)
				case rbacv1.ServiceAccountKind:
					add(what, "ServiceAccount "+s.Name, p.account(namespace, s.Name), pod(&f, f.Places()[0], class.Name), true)
				}
			}
		}
	}
	return attempts, done, nil
}

// pod is one of a class that does what a fixture does; with none, it keeps all there is to keep.
func pod(f *standard.Fixture, at standard.Place, class string) *corev1.Pod {
	pod := standard.Keeps()
	if f != nil {
		pod = f.Pod(at)
	}
	pod.GenerateName = "ashlar-verify-"
	pod.Labels[podclass.LabelClass] = class
	return pod
}

// try asks for each pod.
func (p privileges) try(ctx context.Context, attempts []podAttempt) ([]Evidence, error) {
	evidence := make([]Evidence, len(attempts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, a := range attempts {
		g.Go(func() error {
			var options metav1.CreateOptions
			if a.dry {
				options.DryRun = []string{metav1.DryRunAll}
			}
			err := learned(ctx, func() error {
				_, err := a.client.CoreV1().Pods(a.namespace).Create(ctx, a.pod, options)
				return err
			})
			e, err := judged(a, err)
			evidence[i] = e
			return err
		})
	}
	return evidence, g.Wait()
}

// learned asks again while an API server has not learned yet that somebody may make pods.
func learned(ctx context.Context, ask func() error) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := ask()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot create resource") && !strings.Contains(err.Error(), "cannot patch resource") ||
			ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// judged makes evidence of an answer. Of refusals, only those are one that are for what the pod asks of the machine.
func judged(a podAttempt, answer error) (Evidence, error) {
	if a.dry {
		a.what += ", by dry run"
	}
	refused := apierrors.IsForbidden(answer) && (strings.Contains(answer.Error(), gateClass) || strings.Contains(answer.Error(), gateLevel))
	if answer != nil && !refused {
		return Evidence{}, fmt.Errorf("make %s in %s as %s: not an answer about its class: %w", a.what, a.namespace, a.who, answer)
	}
	e := attempt("make "+a.what, "operator, in namespace "+a.namespace, a.who, a.want, answer)
	if answer != nil && a.gate != "" && !strings.Contains(answer.Error(), a.gate) {
		e.Got, e.Answer = Allowed, "not "+a.gate+", which has to, refused it: "+e.Answer
	}
	return e, nil
}

// changes are what a pod that exists could become.
func (p privileges) changes(ctx context.Context) ([]Evidence, error) {
	made, err := p.admin.CoreV1().Pods(p.own).Create(ctx, pod(nil, standard.InPod, podclass.Restricted), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make a pod to change: %w", err)
	}
	nobody := p.as("ashlar:nobody").CoreV1().Pods(p.own)
	var evidence []Evidence
	change := func(what string, body any, subresources ...string) error {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		err = learned(ctx, func() error {
			_, err := nobody.Patch(ctx, made.Name, types.StrategicMergePatchType, b, metav1.PatchOptions{}, subresources...)
			return err
		})
		e, err := judged(podAttempt{what: what, who: "nobody in particular", namespace: p.own, want: Refused, gate: gateClass}, err)
		evidence = append(evidence, e)
		return err
	}
	for _, class := range p.classes {
		if class.Name == podclass.Restricted {
			continue
		}
		labels := map[string]any{"metadata": map[string]any{"labels": map[string]any{podclass.LabelClass: class.Name}}}
		if err := change("one of class "+class.Name+" of a pod that is restricted", labels); err != nil {
			return evidence, err
		}
	}
	for _, f := range standard.Fixtures {
		if !slices.Contains(f.Places(), standard.InEphemeral) || slices.Contains(f.Breaks, standard.ProcMount) { // which the API allows no such pod
			continue
		}
		added := map[string]any{"spec": map[string]any{"ephemeralContainers": f.Pod(standard.InEphemeral).Spec.EphemeralContainers}}
		if err := change(f.Name+" in an ephemeral container of a pod that is restricted", added, "ephemeralcontainers"); err != nil {
			return evidence, err
		}
	}
	return evidence, nil
}

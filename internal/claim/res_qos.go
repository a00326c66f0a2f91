package claim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/controller"
	"ashlar.dev/ashlar/internal/share"
)

var resourceClaims = []Claim{{
	ID:    "res-qos",
	Says:  "By specifying requests and limits, these resources can be allocated using different QoS",
	Holds: "every pod has requests and limits; the machine's cgroups say what it says; a hog cannot take its neighbour's share",
	Probe: probeQoS,
}}

const (
	// limitedWithin is how long the baseline controller may take to limit a new namespace.
	limitedWithin = 10 * time.Second
	// neighbourRounds is how often a neighbour is measured, quiet and beside a hog, at most: others work on the machine, too.
	neighbourRounds = 5
	neighbourWindow = 2 * time.Second
	// keptThroughput and lateP99 are what a hog may cost its neighbour.
	keptThroughput, lateP99 = 0.9, 2.0
	// unnoticed is a p99, in milliseconds, that is no harm by itself, whatever part of it is the hog's: where a quiet one is of a
	// millisecond, whatever else the machine does makes it several times as long.
	unnoticed = 100.0
)

func probeQoS(ctx context.Context, t *Target) ([]Evidence, error) {
	s, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	namespace, remove, err := s.namespace(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	tiers, err := s.tiers(ctx, namespace)
	if err != nil {
		return tiers, err
	}
	refused, err := s.beyondTier(ctx, namespace)
	if err != nil {
		return nil, err
	}
	evidence := append(tiers, refused...)
	worker := first(t, v1alpha1.RoleWorker)
	pods, err := s.pods(ctx, namespace, []wanted{
		{"says-nothing", worker, nil, func(p *corev1.Pod) { p.Spec.Containers[0].Resources = corev1.ResourceRequirements{} }},
		{"neighbour", worker, nil, guaranteed},
	})
	if err != nil {
		return evidence, err
	}
	groups, err := s.groups(ctx)
	if err != nil {
		return evidence, err
	}
	evidence = append(evidence, groups...)
	if slices.ContainsFunc(evidence, failed) {
		return evidence, nil // a hog could do harm
	}
	beside, err := s.besideHogs(ctx, namespace, pods[1])
	return append(evidence, beside...), err
}

// guaranteed has a pod get what it may at most.
func guaranteed(p *corev1.Pod) {
	all := corev1.ResourceList{"cpu": resource.MustParse("300m"), "memory": resource.MustParse("64Mi"), "ephemeral-storage": resource.MustParse("64Mi")}
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: all, Limits: all}
}

// tiers looks whether every namespace is limited as it is declared, once the new one has had its time.
func (s *isolation) tiers(ctx context.Context, fresh string) ([]Evidence, error) {
	deadline := s.Now().Add(limitedWithin)
	for {
		snapshot, err := s.limits(ctx)
		if err != nil {
			return nil, err
		}
		differing := map[string]string{}
		for _, c := range controller.PlanQuotas(s.Spec.Spec.Isolation, snapshot) {
			differing[c.Object.GetNamespace()] = c.Name() + ": " + c.Why
		}
		if len(differing) > 0 && s.Now().Before(deadline) {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		var out []Evidence
		// What is wrong with those that were there says more than what is wrong with the new one.
		isNew := func(ns *corev1.Namespace) bool { return ns.Name == fresh }
		slices.SortStableFunc(snapshot.Namespaces, func(a, b *corev1.Namespace) int {
			switch {
			case isNew(a) == isNew(b):
				return 0
			case isNew(b):
				return -1
			}
			return 1
		})
		for _, ns := range snapshot.Namespaces {
			if ns.DeletionTimestamp != nil {
				continue
			}
			e := Evidence{Attempt: "find a namespace that takes more than its tier, " + ns.Name, As: "the administrator", Want: Refused, Got: Refused,
				Answer: "it has the LimitRange and the ResourceQuota of " + s.Spec.Spec.Isolation.TierOf(ns.Name, ns.Labels).Name}
			if why := differing[ns.Name]; why != "" {
				e.Got, e.Answer = Allowed, why
			}
			out = append(out, e)
		}
		return out, nil
	}
}

func (s *isolation) limits(ctx context.Context) (out controller.Snapshot, err error) {
	all := metav1.ListOptions{}
	namespaces, err := s.client.CoreV1().Namespaces().List(ctx, all)
	if err != nil {
		return out, err
	}
	ranges, err := s.client.CoreV1().LimitRanges("").List(ctx, all)
	if err != nil {
		return out, err
	}
	quotas, err := s.client.CoreV1().ResourceQuotas("").List(ctx, all)
	if err != nil {
		return out, err
	}
	for i := range namespaces.Items {
		out.Namespaces = append(out.Namespaces, &namespaces.Items[i])
	}
	for i := range ranges.Items {
		out.LimitRanges = append(out.LimitRanges, &ranges.Items[i])
	}
	for i := range quotas.Items {
		out.ResourceQuotas = append(out.ResourceQuotas, &quotas.Items[i])
	}
	return out, nil
}

// beyondTier asks for what no tier has room for, and for the priority of the system.
func (s *isolation) beyondTier(ctx context.Context, namespace string) ([]Evidence, error) {
	tier := s.Spec.Spec.Isolation.TierOf(namespace, map[string]string{})
	var out []Evidence
	try := func(what string, change func(*corev1.Pod)) error {
		pod := probePod(s.image, "beyond", "", nil, "serve", ":1")
		change(pod)
		_, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && !strings.Contains(err.Error(), controller.TierName) && !strings.Contains(err.Error(), controller.PriorityName) {
			return fmt.Errorf("%s: %w", what, err) // refused for another reason, which proves nothing
		}
		out = append(out, attempt(what, namespace, "the administrator", Refused, err))
		return nil
	}
	// The controller-manager counts what there is before a quota holds.
	deadline := s.Now().Add(limitedWithin)
	for {
		out = nil
		err := try("have a pod of the system's priority", func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-cluster-critical" })
		if memory, ok := tier.Quota["limits.memory"]; ok && err == nil {
			most, parseErr := resource.ParseQuantity(memory)
			if parseErr != nil {
				return nil, parseErr
			}
			most.Add(resource.MustParse("1Gi"))
			err = try("have a pod that may take more memory than its namespace", func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits["memory"] = most })
		}
		if err != nil || !slices.ContainsFunc(out, failed) || s.Now().After(deadline) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// groups compares all pods that run with their machines' cgroups.
func (s *isolation) groups(ctx context.Context) ([]Evidence, error) {
	pods, err := s.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	workers := s.Desired.WithRole(v1alpha1.RoleWorker)
	out := make([][]Evidence, len(workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		g.Go(func() error {
			text, err := run(ctx, s.Target, w.Name, "bash", "-c", share.ListScript)
			if err != nil {
				return fmt.Errorf("read the cgroups of %s: %w", w.Name, err)
			}
			groups := share.Parse(string(text))
			for _, n := range nodes.Items {
				if n.Name == w.Name {
					out[i] = append(out[i], ofMachine(groups, &n))
				}
			}
			for _, p := range pods.Items {
				if p.Spec.NodeName == w.Name && p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
					out[i] = append(out[i], ofPod(groups, &p))
				}
			}
			return nil
		})
	}
	err = g.Wait()
	return slices.Concat(out...), err
}

// ofMachine says whether all pods together leave something of their machine's memory.
func ofMachine(groups share.Groups, node *corev1.Node) Evidence {
	e := Evidence{Attempt: "take all memory of the machine, with all pods together", From: node.Name, As: "pods", Want: Refused, Got: Allowed, Answer: "nothing bounds them"}
	all, ok := groups["kubepods"]
	if !ok {
		all, ok = groups["kubepods.slice"]
	}
	capacity := node.Status.Capacity.Memory().Value()
	if most, bounded := all.Memory(); ok && bounded {
		e.Answer = fmt.Sprintf("they may have %d of %d bytes", most, capacity)
		if most < capacity {
			e.Got = Refused
		}
	}
	return e
}

// ofPod says whether a pod's cgroups let it have more than it says.
func ofPod(groups share.Groups, pod *corev1.Pod) Evidence {
	e := Evidence{Attempt: "take more than it says, " + pod.Namespace + "/" + pod.Name, From: pod.Spec.NodeName, As: "pod " + pod.Name, Want: Refused, Got: Allowed}
	group, ok := groups.Find(string(pod.UID))
	pids, bounded := group.PIDs()
	switch {
	case !ok:
		e.Answer = "it has no cgroup of its own"
		return e
	case !bounded:
		e.Answer = "it may have any number of processes"
		return e
	case group.Class() != pod.Status.QOSClass:
		e.Answer = fmt.Sprintf("it is %s, and its cgroup is at %s", pod.Status.QOSClass, group.Path)
		return e
	}
	for _, c := range share.Running(pod) {
		if lacks := c.Unlimited(); lacks != "" {
			e.Answer = c.Name + " " + lacks
			return e
		}
		own, ok := groups.Find(c.ID)
		if !ok {
			e.Answer = c.Name + " has no cgroup of its own"
			return e
		}
		if differs := c.Differs(own); differs != "" {
			e.Answer = c.Name + ": " + differs
			return e
		}
	}
	e.Got, e.Answer = Refused, fmt.Sprintf("%s, as its cgroups are; at most %d processes", pod.Status.QOSClass, pids)
	return e
}

// besideHogs has a memory hog killed within its own limit, and measures a neighbour beside a CPU hog; neither says how much it takes.
func (s *isolation) besideHogs(ctx context.Context, namespace string, neighbour *corev1.Pod) ([]Evidence, error) {
	memory, err := s.hog(ctx, namespace, neighbour.Spec.NodeName, "memory")
	if err != nil {
		return nil, err
	}
	e := Evidence{Attempt: "take ever more memory", From: neighbour.Spec.NodeName, As: "a pod that says nothing", Want: Refused, Got: Allowed, Answer: "it goes on"}
	if err := s.until(ctx, memory, func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil {
				e.Got, e.Answer = Refused, fmt.Sprintf("%s, with exit code %d", t.Reason, t.ExitCode)
				return true
			}
		}
		return false
	}); err != nil {
		return nil, err
	}
	var quiet, beside []share.Pace
	f := Evidence{Attempt: "take a neighbour's share of the CPU", From: neighbour.Spec.NodeName, As: "a pod that says nothing", Want: Refused, Got: Allowed}
	for range neighbourRounds {
		pace, err := s.pace(ctx, neighbour)
		if err != nil {
			return nil, err
		}
		quiet = append(quiet, pace)
		hog, err := s.hog(ctx, namespace, neighbour.Spec.NodeName, "cpu")
		if err != nil {
			return nil, err
		}
		if pace, err = s.pace(ctx, neighbour); err != nil {
			return nil, err
		}
		beside = append(beside, pace)
		none := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
		if err := s.client.CoreV1().Pods(namespace).Delete(ctx, hog.Name, none); err != nil {
			return nil, fmt.Errorf("remove the hog: %w", err)
		}
		throughput, late := share.Kept(quiet, beside)
		f.Answer = fmt.Sprintf("it keeps %.0f %% of its throughput, and its p99 is %.1f times as long", 100*throughput, late)
		p99 := slices.MinFunc(beside, func(a, b share.Pace) int { return cmp.Compare(a.P99, b.P99) }).P99
		if throughput >= keptThroughput && (late <= lateP99 || p99 <= unnoticed) {
			f.Got = Refused
			break
		}
	}
	return []Evidence{e, f}, nil
}

// hog starts one of them, with nothing said about how much it takes.
func (s *isolation) hog(ctx context.Context, namespace, node, of string) (*corev1.Pod, error) {
	pod := probePod(s.image, "", node, nil, "hog", of)
	pod.GenerateName = "hog-"
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	made, err := s.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make a pod that takes all %s: %w", of, err)
	}
	if of != "cpu" {
		return made, nil // it may be gone before it was seen to run
	}
	return started(ctx, s.client, namespace, made.Name)
}

// until looks at a pod again and again until it is as wanted, or has had its time.
func (s *isolation) until(ctx context.Context, pod *corev1.Pod, done func(*corev1.Pod) bool) error {
	for deadline := s.Now().Add(30 * time.Second); s.Now().Before(deadline); {
		now, err := s.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("look at pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		if done(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// pace measures a pod.
func (s *isolation) pace(ctx context.Context, pod *corev1.Pod) (p share.Pace, err error) {
	return Pace(ctx, s.Target, s.client, pod, 20*time.Millisecond, neighbourWindow)
}

// Pace has a pod do pieces of work for a while.
func Pace(ctx context.Context, t *Target, c kubernetes.Interface, pod *corev1.Pod, every, lasting time.Duration) (p share.Pace, err error) {
	var out, problems bytes.Buffer
	command := []string{"/ashlar", "probe", "neighbour", "--every", every.String(), "--for", lasting.String()}
	for range 5 { // a busy containerd may lose what a command says that ends quickly
		if err := execIn(ctx, t.Admin, c, pod, command, &out, &problems); err != nil {
			return p, fmt.Errorf("measure pod %s/%s: %w: %s", pod.Namespace, pod.Name, err, strings.TrimSpace(problems.String()))
		}
		if out.Len() > 0 {
			break
		}
	}
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		return p, fmt.Errorf("pod %s/%s answered %q", pod.Namespace, pod.Name, out.String())
	}
	return p, nil
}

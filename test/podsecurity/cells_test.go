package podsecurity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
)

// own are classes of a user's own, and declared is what each lets through beyond the standard that it begins from: the
// fixtures, by name.
var (
	own = []v1alpha1.PodClass{
		{Name: "router", Standard: standard.Baseline, Capabilities: []string{"NET_ADMIN", "NET_RAW"}, HostNamespaces: []string{"network"},
			HostPorts: []v1alpha1.PortRange{{From: 8000, To: 8090}}},
		{Name: "storage", HostPaths: []v1alpha1.HostPath{{Prefix: "/var/lib/ashlar-verify"}}},
		{Name: "neighbour", HostPaths: []v1alpha1.HostPath{{Prefix: "/var/lib/ashlar"}}}, // a prefix of the name is no prefix of the path
		{Name: "tracer", Seccomp: []string{"Unconfined"}, SELinux: []v1alpha1.SELinuxOptions{{Type: "spc_t"}}, HostNamespaces: []string{"pid"}},
		{Name: "legacy", Relax: []string{standard.NonRoot.Name, standard.NonRootUser.Name, standard.Escalation.Name}},
	}
	declared = map[string][]string{
		"router":  {"NET_ADMIN", "NET_RAW", "the machine's network", "a port of the machine"},
		"storage": {"a directory of the machine"},
		"tracer": {"seccomp unconfined in the pod", "seccomp unconfined", "SELinux type spc_t in the pod", "SELinux type spc_t",
			"the machine's processes"},
		"legacy": {"perhaps root", "perhaps root in one container", "root in the pod", "root", "nothing about new privileges", "new privileges"},
	}
)

// lets says whether a class lets a fixture through, by the standard that it begins from and what is declared of it.
func lets(class isolation.Class, f standard.Fixture) bool {
	level := f.Level()
	return class.Name == isolation.Privileged || level == standard.Restricted ||
		level == standard.Baseline && class.Standard == standard.Baseline || slices.Contains(declared[class.Name], f.Name)
}

// nothing is the fixture that breaks nothing.
var nothing = standard.Fixture{Name: "nothing"}

func fixtures() []standard.Fixture { return append([]standard.Fixture{nothing}, standard.Fixtures...) }

func TestDeclaredNames(t *testing.T) {
	for class, names := range declared {
		for _, name := range names {
			if !slices.ContainsFunc(standard.Fixtures, func(f standard.Fixture) bool { return f.Name == name }) {
				t.Errorf("class %s: there is no fixture %q", class, name)
			}
		}
	}
}

// TestCheck: the decision in Go is that of the standards, at every place.
func TestCheck(t *testing.T) {
	cells := 0
	for _, class := range isolation.Classes(v1alpha1.Isolation{Classes: own}) {
		for _, f := range fixtures() {
			for _, at := range f.Places() {
				cells++
				pod := f.Pod(at)
				if v := class.Check(&pod.ObjectMeta, &pod.Spec); (len(v) == 0) != lets(class, f) {
					t.Errorf("class %s: %s in %s: %v", class.Name, f.Name, at, v)
				}
			}
		}
	}
	t.Logf("%d cells", cells)
}

// cell is one attempt at the API.
type cell struct {
	class   isolation.Class
	subject subject
	fixture standard.Fixture
	at      standard.Place
}

func (c cell) String() string {
	return fmt.Sprintf("%s in %s, of class %s, by %s", c.fixture.Name, c.at, c.class.Name, c.subject.name)
}

func (c cell) want() bool {
	return (c.subject.may || c.class.Name == standard.Restricted) && lets(c.class, c.fixture)
}

// pod is what the subject asks for.
func (c cell) pod() *corev1.Pod {
	pod := c.fixture.Pod(c.at)
	pod.GenerateName = "cell-"
	if c.class.Name != standard.Restricted { // which is what a pod is that does not say
		pod.Labels[isolation.LabelClass] = c.class.Name
	}
	pod.Spec.ServiceAccountName = c.subject.account
	return pod
}

// TestCells: who makes a pod of which class with what, by dry run and in earnest.
func TestCells(t *testing.T) {
	s := start(t, own)
	var cells []cell
	for i, class := range s.classes {
		for j, subject := range s.subjects(class, s.classes[(i+1)%len(s.classes)]) {
			for _, f := range fixtures() {
				places := f.Places()
				if j > 1 {
					places = places[:1]
				}
				for _, at := range places {
					cells = append(cells, cell{class, subject, f, at})
				}
			}
		}
	}
	began := time.Now()
	var let atomic.Int64
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(8)
	for _, c := range cells {
		g.Go(func() error {
			for _, dry := range []bool{true, false} {
				err := s.try(ctx, c, dry)
				if err != nil && !apierrors.IsForbidden(err) {
					t.Errorf("%s (dry run: %t): neither let through nor refused: %v", c, dry, err)
				} else if (err == nil) != c.want() {
					t.Errorf("%s (dry run: %t): must be let through: %t; but: %v", c, dry, c.want(), err)
				}
				if err == nil {
					let.Add(1)
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cells, each by dry run and in earnest: %d of %d let through, in %s", len(cells), let.Load(), 2*len(cells), time.Since(began).Round(time.Second))
}

// TestSecondLine: where nothing is granted, Pod Security refuses what an administrator asks for, whatever its class.
func TestSecondLine(t *testing.T) {
	s := start(t, own)
	for _, class := range s.classes {
		for _, f := range fixtures() {
			if f.Places()[0] == standard.InEphemeral {
				continue
			}
			c := cell{class, subject{name: "an administrator", client: s.admin, namespace: plain, account: "default", may: true}, f, f.Places()[0]}
			err := s.try(t.Context(), c, true)
			if err != nil && !apierrors.IsForbidden(err) {
				t.Errorf("%s: %v", c, err)
			}
			if want := f.Level() == standard.Restricted; (err == nil) != want {
				t.Errorf("%s where nothing is granted: must be let through: %t; but: %v", c, want, err)
			}
			if err != nil && lets(class, f) && !strings.Contains(err.Error(), "PodSecurity") {
				t.Errorf("%s: somebody else than Pod Security refused: %v", c, err)
			}
		}
	}
}

// try asks for a cell's pod, and removes it if it is had.
func (s server) try(ctx context.Context, c cell, dry bool) error {
	var options metav1.CreateOptions
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	pods := c.subject.client.CoreV1().Pods(c.subject.namespace)
	if c.at != standard.InEphemeral {
		pod, err := pods.Create(ctx, c.pod(), options)
		if err == nil && !dry {
			err = s.remove(ctx, pod)
		}
		return err
	}
	before := c.pod()
	added := before.Spec.EphemeralContainers
	before.Spec.EphemeralContainers = nil
	pod, err := s.admin.CoreV1().Pods(c.subject.namespace).Create(ctx, before, metav1.CreateOptions{})
	if err != nil {
		return errors.New("make a pod to add to: " + err.Error()) // not wrapped: it is no answer to the attempt
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": added}})
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{DryRun: options.DryRun}, "ephemeralcontainers")
	if problem := s.remove(ctx, pod); problem != nil {
		return problem
	}
	return err
}

func (s server) remove(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	if err := s.admin.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return errors.New("remove " + pod.Name + ": " + err.Error())
	}
	return nil
}

// subject is who asks, where, and for whom.
type subject struct {
	name      string
	client    kubernetes.Interface
	namespace string
	account   string // of the pod
	may       bool   // use the class
}

// subjects are who may use a class and who may not.
func (s server) subjects(class, another isolation.Class) []subject {
	as := func(user string, groups ...string) kubernetes.Interface {
		config := rest.CopyConfig(s.config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
		return kubernetes.NewForConfigOrDie(config)
	}
	account := "system:serviceaccount:" + granted + ":"
	accounts := []string{"system:serviceaccounts", "system:serviceaccounts:" + granted}
	nobody := as("nobody")
	return []subject{
		{"nobody in particular", nobody, granted, "default", false},
		{"a user who is granted it", as("user-" + class.Name), granted, "default", true},
		{"one of a group that is granted it", as("somebody", "group-"+class.Name), granted, "default", true},
		{"a ServiceAccount that is granted it", as(account+"account-"+class.Name, accounts...), granted, "default", true},
		{"nobody, for a ServiceAccount that is granted it", nobody, granted, "account-" + class.Name, true},
		{"nobody, for a ServiceAccount that is granted another", nobody, granted, "account-" + another.Name, false},
		{"a user who is granted another", as("user-" + another.Name), granted, "default", false},
		{"a user who is granted it elsewhere", as("user-elsewhere-" + class.Name), granted, "default", false},
		{"an administrator", s.admin, granted, "default", true},
	}
}

package podsecurity

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/internal/isolation"
)

// upstream is one of the fixtures that Pod Security Admission is tested with.
type upstream struct {
	name           string
	level, version string // its directories, as restricted and v1.37
	passes         bool   // its directory is pass, not fail
	pod            *corev1.Pod
}

// newest is the version of the standards that internal/isolation has.
const newest = "v1.37"

// upstreams reads them all, from the module that has them.
func upstreams(t *testing.T) []upstream {
	t.Helper()
	root := filepath.Join(moduleDir(t), "test", "testdata")
	files, err := filepath.Glob(filepath.Join(root, "*", "v*", "*", "*.yaml"))
	if err != nil || len(files) < 1000 {
		t.Fatalf("%d fixtures in %s: %v", len(files), root, err)
	}
	var out []upstream
	for _, f := range files {
		name := strings.TrimPrefix(f, root+"/")
		parts := strings.Split(name, "/")
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		u := upstream{name: name, level: parts[0], version: parts[1], passes: parts[2] == "pass", pod: &corev1.Pod{}}
		if err := yaml.UnmarshalStrict(b, u.pod); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for i, v := range u.pod.Spec.Volumes {
			if v.VolumeSource == (corev1.VolumeSource{}) { // which is what the API server makes of it
				u.pod.Spec.Volumes[i].EmptyDir = &corev1.EmptyDirVolumeSource{}
			}
		}
		out = append(out, u)
	}
	return out
}

// TestNewest: there is no newer version of the standards than that which is tested.
func TestNewest(t *testing.T) {
	ours, err := api.ParseVersion(newest)
	if err != nil {
		t.Fatal(err)
	}
	there := 0
	for _, u := range upstreams(t) {
		v, err := api.ParseVersion(u.version)
		if err != nil {
			t.Fatal(err)
		}
		if ours.Older(v) {
			t.Fatalf("%s is newer than %s", u.name, newest)
		}
		if v == ours {
			there++
		}
	}
	if there < 100 {
		t.Errorf("%d fixtures of %s", there, newest)
	}
}

var evaluator, unusable = policy.NewEvaluator(policy.DefaultChecks(), nil)

// allowed is what Pod Security Admission says of a pod at the newest version of a level.
func allowed(t *testing.T, level string, pod *corev1.Pod) bool {
	t.Helper()
	if unusable != nil {
		t.Fatal(unusable)
	}
	at := api.LevelVersion{Level: api.Level(level), Version: api.LatestVersion()}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(at, &pod.ObjectMeta, &pod.Spec)).Allowed
}

// TestUpstream: in the classes restricted and baseline, Pod Security Admission's own fixtures of its newest version are what
// their directory says, to the decision in Go and to the API server; those of older versions what its newest one says of them.
func TestUpstream(t *testing.T) {
	s := start(t, nil)
	inGo, asked := 0, 0
	for _, u := range upstreams(t) {
		class, found := isolation.Find(s.classes, u.level)
		if !found {
			t.Fatalf("there is no class %s", u.level)
		}
		want := allowed(t, u.level, u.pod)
		if u.version == newest && want != u.passes {
			t.Fatalf("Pod Security Admission itself: %s: %t", u.name, want)
		}
		inGo++
		if v := class.Check(&u.pod.ObjectMeta, &u.pod.Spec); (len(v) == 0) != want {
			t.Errorf("%s: must pass: %t; but: %v", u.name, want, v)
		}
		if u.version != newest {
			continue
		}
		asked++
		pod := u.pod.DeepCopy()
		pod.Name, pod.Namespace = "upstream", ""
		pod.Labels = map[string]string{isolation.LabelClass: u.level}
		_, err := s.admin.CoreV1().Pods(granted).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		// What breaks baseline's /proc Mount Type, the API itself has for invalid.
		if err != nil && !apierrors.IsForbidden(err) && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "procMount")) {
			t.Errorf("%s: neither let through nor refused: %v", u.name, err)
		}
		if (err == nil) != u.passes {
			t.Errorf("%s: must pass: %t; but: %v", u.name, u.passes, err)
		}
	}
	t.Logf("%d fixtures in Go, %d by the API server", inGo, asked)
}

// moduleDir is where the source of Pod Security Admission is.
func moduleDir(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatalf("ask go where Pod Security Admission is: %v", err)
	}
	return strings.TrimSpace(string(out))
}

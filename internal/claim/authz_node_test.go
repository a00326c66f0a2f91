package claim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/unit"
)

// TestDeedsDoNoHarm sends every deed to a server that writes down what it is asked: each is one request, what would
// change something is a dry run, and there are deeds of both kinds.
func TestDeedsDoNoHarm(t *testing.T) {
	type request struct {
		method, path string
		dry          bool
	}
	var asked []request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var options metav1.DeleteOptions // only these are in the body
		dry := r.URL.Query()["dryRun"]
		if r.Method == http.MethodDelete && json.NewDecoder(r.Body).Decode(&options) == nil {
			dry = options.DryRun
		}
		asked = append(asked, request{r.Method, r.URL.Path, slices.Equal(dry, []string{metav1.DryRunAll})})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`))
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	node, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: "admin", Groups: []string{unit.GroupAdmins}}
	masked, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	seen, sides := map[string]bool{}, map[Expectation]int{}
	for _, d := range deeds(node, masked, "ns", "a", "b", map[string]*corev1.Pod{"a": {}, "b": {}}) {
		asked = nil
		if err := d.do(t.Context()); err == nil {
			t.Errorf("%s: a refusal was taken for a success", d.what)
		}
		if len(asked) != 1 {
			t.Errorf("%s: %d requests", d.what, len(asked))
			continue
		}
		if r := asked[0]; r.method != http.MethodGet && !r.dry {
			t.Errorf("%s: %s %s is no dry run", d.what, r.method, r.path)
		}
		if seen[d.what] {
			t.Errorf("%s is there twice", d.what)
		}
		seen[d.what] = true
		sides[d.want]++
	}
	if sides[Allowed] == 0 || sides[Refused] == 0 || len(sides) != 2 {
		t.Errorf("expectations: %v", sides)
	}
}

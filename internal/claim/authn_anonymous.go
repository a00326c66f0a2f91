package claim

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// openPaths are what load balancers may ask without a name.
var openPaths = []string{"/livez", "/readyz", "/healthz"}

// closedPaths are those that discovery does not list.
var closedPaths = []string{"/", "/version", "/version/", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks",
	"/.well-known/openid-configuration", "/debug/pprof/", "/debug/flags/v", "/logs", "/logs/", "/configz", "/flagz", "/statusz", "/swaggerapi",
	"/livez/ping", "/readyz/etcd", "/healthz/ping", "/livez/", "//livez", "/readyz/../version", "/nonsense",
	"/api/v1/namespaces/kube-system/secrets", "/api/v1/nodes", "/api/v1/namespaces/default/services/kubernetes/proxy/"}

// kubeletPaths are a kubelet's; only those it serves, for elsewhere it says 404 to whoever asks.
var kubeletPaths = []string{"/healthz", "/pods", "/runningpods/", "/metrics", "/metrics/cadvisor", "/metrics/resource", "/stats/summary",
	"/logs/", "/configz", "/debug/pprof/", "/checkpoint/default/a/b", "/exec/default/a/b", "/run/default/a/b", "/containerLogs/default/a/b"}

// probeAnonymous walks every path without any credential.
func probeAnonymous(ctx context.Context, t *Target) ([]Evidence, error) {
	paths, err := discoveredPaths(t)
	if err != nil {
		return nil, err
	}
	type visit struct {
		plane plane
		path  string
		want  Expectation
	}
	var visits []visit
	for _, p := range planes(t) {
		switch {
		case p.closes: // etcd knows no anonymous request at all: authn-x509 tries it
		case p.name == "kube-apiserver":
			for _, path := range openPaths {
				visits = append(visits, visit{p, path, Allowed})
			}
			for _, path := range append(slices.Clone(closedPaths), paths...) {
				visits = append(visits, visit{p, path, Refused})
			}
		default:
			for _, path := range kubeletPaths {
				visits = append(visits, visit{p, path, Refused})
			}
		}
	}
	evidence := make([]Evidence, len(visits))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, v := range visits {
		g.Go(func() error {
			a, err := v.plane.ask(ctx, t, v.path, nil)
			if err != nil {
				return err
			}
			e := Evidence{Attempt: "GET " + v.path + " of " + v.plane.name, From: v.plane.vantage, As: "nobody", Want: v.want, Answer: a.said()}
			e.Got, err = authenticated(false, a)
			evidence[i] = e
			return err
		})
	}
	return evidence, g.Wait()
}

// discoveredPaths are all that the API says it has: groups, versions, and the collection of every resource.
func discoveredPaths(t *Target) ([]string, error) {
	client, err := discovery.NewDiscoveryClientForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return nil, fmt.Errorf("discover the API: %w", err)
	}
	paths := []string{"/api", "/apis"}
	for _, l := range lists {
		base := "/apis/" + l.GroupVersion
		if l.GroupVersion == "v1" {
			base = "/api/v1"
		}
		paths = append(paths, base)
		for _, r := range l.APIResources {
			if slices.Contains(r.Verbs, "list") {
				paths = append(paths, base+"/"+r.Name)
			}
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// worker returns the n-th worker.
func worker(t *Target, n int) (unit.Machine, error) {
	workers := t.Desired.WithRole(v1alpha1.RoleWorker)
	if n >= len(workers) {
		return unit.Machine{}, fmt.Errorf("this needs %d workers; the cluster has %d", n+1, len(workers))
	}
	return workers[n], nil
}

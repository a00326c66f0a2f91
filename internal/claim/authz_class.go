package claim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
)

// classAccount is the ServiceAccount that such a probe makes, and removes.
const classAccount = "ashlar-verify"

// probeClass sends real requests as a ServiceAccount of a namespace, and compares what the API lets through with what is
// declared for its class: every resource, in its own namespace, in another, and in the whole cluster. An empty namespace
// is any that no class names.
func probeClass(namespace string) func(context.Context, *Target) ([]Evidence, error) {
	return func(ctx context.Context, t *Target) ([]Evidence, error) {
		admin, err := kubernetes.NewForConfig(t.Admin)
		if err != nil {
			return nil, err
		}
		other, removeOther, err := scratch(ctx, admin, "ashlar-verify-other-")
		if err != nil {
			return nil, err
		}
		defer removeOther()
		own, remove, err := ownNamespace(ctx, admin, namespace)
		if err != nil {
			return nil, err
		}
		defer remove()
		p, err := declared(t.Spec.Spec.Authorization, authz.Accounts{own: {classAccount}})
		if err != nil {
			return nil, err
		}
		config, removeAccount, err := asAccount(ctx, t, admin, own)
		if err != nil {
			return nil, err
		}
		defer removeAccount()
		_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(t.Admin).ServerGroupsAndResources()
		if err != nil {
			return nil, fmt.Errorf("discover the API: %w", err)
		}
		return tryRequests(ctx, config, p, classRequests(lists, own, other))
	}
}

// ownNamespace is the namespace itself, made if there is none of that name, or a new one; and what removes what was made.
func ownNamespace(ctx context.Context, c kubernetes.Interface, name string) (string, func(), error) {
	if name == "" {
		return scratch(ctx, c, "ashlar-verify-own-")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		found, err := c.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err == nil && found.DeletionTimestamp == nil {
			return name, func() {}, nil
		}
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil || time.Now().After(deadline) || ctx.Err() != nil { // an earlier probe's, on its way out
			return "", nil, fmt.Errorf("look at namespace %s, which may be terminating: %w", name, cmp.Or(err, ctx.Err()))
		}
	}
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{}); err != nil {
		return "", nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	return name, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = c.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	}, nil
}

// declared is what the model says of ServiceAccounts in the cluster's mode.
func declared(a v1alpha1.Authorization, accounts authz.Accounts) (*authz.Policy, error) {
	return authz.Model(a.ServiceAccounts).Policy(a.Mode, accounts)
}

// asAccount makes the ServiceAccount, and returns how it asks, and what removes it.
func asAccount(ctx context.Context, t *Target, c kubernetes.Interface, namespace string) (*rest.Config, func(), error) {
	accounts := c.CoreV1().ServiceAccounts(namespace)
	no := false
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: classAccount}, AutomountServiceAccountToken: &no}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) { // a probe that was killed left it
		return nil, nil, fmt.Errorf("make ServiceAccount %s/%s: %w", namespace, classAccount, err)
	}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = accounts.Delete(ctx, classAccount, metav1.DeleteOptions{})
	}
	seconds := int64(600)
	token, err := accounts.CreateToken(ctx, classAccount, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("a token of ServiceAccount %s/%s: %w", namespace, classAccount, err)
	}
	config := rest.AnonymousClientConfig(t.Admin)
	config.BearerToken, config.QPS = token.Status.Token, -1
	return config, remove, nil
}

// apiRequest is a request that changes nothing: it is for something that does not exist, and a dry run.
type apiRequest struct {
	authz.Request
	method, path string
	query        url.Values
}

// allVerbs are tried on resources that stand for the others; on those others a read and a write.
var (
	allVerbs  = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	someVerbs = []string{"get", "list", "create", "delete"}
	inFull    = []string{"pods", "secrets", "configmaps", "nodes", "deployments", "rolebindings", "clusterroles", "serviceaccounts"}
	somePaths = []string{"/api", "/apis", "/version", "/openapi/v3", "/healthz", "/metrics", "/debug/pprof/", "/logs/", "/configz"}
)

// classRequests are what is tried.
func classRequests(lists []*metav1.APIResourceList, own, other string) []apiRequest {
	var out []apiRequest
	seen := map[string]bool{} // of several versions one will do
	for _, l := range lists {
		group, _, _ := strings.Cut(l.GroupVersion, "/")
		for _, r := range l.APIResources {
			if seen[group+" "+r.Name] {
				continue
			}
			seen[group+" "+r.Name] = true
			resource, sub, _ := strings.Cut(r.Name, "/")
			scopes := []string{""}
			if r.Namespaced {
				scopes = []string{own, other, ""}
			}
			verbs := someVerbs
			if slices.Contains(inFull, resource) {
				verbs = allVerbs
			}
			for _, ns := range scopes {
				for _, verb := range verbs {
					if q, ok := newRequest(l.GroupVersion, resource, sub, ns, verb, r.Namespaced); ok {
						out = append(out, q)
					}
				}
			}
		}
	}
	for _, path := range somePaths {
		out = append(out, apiRequest{Request: authz.Request{Verb: "get", Path: path}, method: http.MethodGet, path: path})
	}
	return out
}

// newRequest is how a verb is asked for over HTTP, if it can be.
func newRequest(groupVersion, resource, sub, namespace, verb string, namespaced bool) (apiRequest, bool) {
	const name = "ashlar-verify-none"
	q := apiRequest{Request: authz.Request{Verb: verb, ResourceRequest: true, Resource: resource, Subresource: sub, Namespace: namespace}, query: url.Values{}}
	q.path = "/api/" + groupVersion
	if group, _, grouped := strings.Cut(groupVersion, "/"); grouped {
		q.APIGroup, q.path = group, "/apis/"+groupVersion
	}
	if namespace != "" {
		q.path += "/namespaces/" + namespace
	}
	q.path += "/" + resource
	dry := func() { q.query.Set("dryRun", metav1.DryRunAll) }
	named := true
	switch verb {
	case "get":
		q.method = http.MethodGet
	case "list", "watch":
		q.method, named = http.MethodGet, false
		q.query.Set("limit", "1")
		if verb == "watch" {
			q.query.Set("watch", "1")
			q.query.Set("timeoutSeconds", "1")
		}
	case "create":
		q.method, named = http.MethodPost, sub != ""
		dry()
	case "update":
		q.method = http.MethodPut
		dry()
	case "patch":
		q.method = http.MethodPatch
		dry()
	case "delete":
		q.method = http.MethodDelete
		dry()
	case "deletecollection":
		q.method, named = http.MethodDelete, false
		q.query.Set("labelSelector", name+"=") // of nothing, should the dry run not be one
		dry()
	}
	if sub != "" && !named || namespaced && namespace == "" && verb != "list" && verb != "watch" {
		return q, false // there is no such URL
	}
	if named {
		q.path += "/" + name
		q.Name = name
		if sub != "" {
			q.path += "/" + sub
		}
	}
	return q, true
}

// tryRequests sends them all, and says whether each came past authorization as it should. The baseline controller binds
// a new ServiceAccount in its own time: what is refused at first is tried again for a while.
func tryRequests(ctx context.Context, config *rest.Config, p *authz.Policy, requests []apiRequest) ([]Evidence, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	who, err := knownFor(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("ask who the ServiceAccount is: %w", err)
	}
	deadline := time.Now().Add(15 * time.Second)
	evidence := make([]Evidence, len(requests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4) // the API servers have others to serve
	for i, q := range requests {
		g.Go(func() error {
			q.User, q.Groups = who.Username, who.Groups
			want := Refused
			if ok, _ := authz.Allowed(p, q.Request); ok {
				want = Allowed
			}
			for {
				got, answer, err := send(ctx, client, config, q)
				if err != nil {
					return fmt.Errorf("%s: %w", q.Request, err)
				}
				evidence[i] = Evidence{Attempt: strings.TrimPrefix(q.String(), q.Subject().String()+": "), From: "operator", As: q.User, Want: want, Got: got, Answer: answer}
				if got == want || want == Refused || time.Now().After(deadline) {
					return nil
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	return evidence, g.Wait()
}

// send says whether a request came past authorization. Admission forbids too, in other words.
func send(ctx context.Context, client *http.Client, config *rest.Config, q apiRequest) (Expectation, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var body io.Reader
	if q.method != http.MethodGet && q.method != http.MethodDelete {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, q.method, config.Host+q.path+"?"+q.query.Encode(), body)
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if q.method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusTooManyRequests {
		return "", "", fmt.Errorf("the API answers %s", resp.Status)
	}
	if resp.StatusCode != http.StatusForbidden {
		return Allowed, "came past authorization: " + resp.Status, nil
	}
	var status metav1.Status
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&status); err != nil {
		return "", "", fmt.Errorf("the API answers %s, but no Status: %w", resp.Status, err)
	}
	if !strings.Contains(status.Message, "cannot "+q.Verb) {
		return Allowed, "came past authorization: " + status.Message, nil
	}
	return Refused, status.Message, nil
}

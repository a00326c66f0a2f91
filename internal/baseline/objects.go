// Package baseline is what a cluster holds before its first user: who may do what, what a namespace is limited to,
// who may talk to whom, what is refused, and DNS. manifests/ has it in full, a file for each concern.
package baseline

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"text/template"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/unit"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// Labels that every object of the baseline carries. Others that Ashlar manages have the first alone.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelPartOf    = "app.kubernetes.io/part-of"
	managedBy      = "ashlar"
	partOf         = "baseline"
)

// Input is what differs from cluster to cluster.
type Input struct {
	// DNSServiceIP is where pods find DNS.
	DNSServiceIP netip.Addr
	// ClusterDomain is the suffix of Services' names.
	ClusterDomain string
	// APIServer is the address of the load balancer.
	APIServer netip.Addr
	// CoreDNSImage is in every worker's image store.
	CoreDNSImage string
	// Workers is how many machines run pods.
	Workers int
	// Members: machines come and go without `ashlar up`, and their nodes with them.
	Members bool
	// ServiceAccounts are the classes whose roles the cluster has.
	ServiceAccounts []v1alpha1.ServiceAccountClass
	// Isolation is what is declared of pods' classes and namespaces' tiers.
	Isolation v1alpha1.Isolation
	// UserNamespaces: the kernel of every worker can give pods users that are not its own.
	UserNamespaces bool
	// UpstreamDNS are servers to ask about other names; none: they do not exist.
	UpstreamDNS []netip.Addr
}

// view is Input and what follows from it, as the manifests name it.
type view struct {
	Input
	GroupAdmins, GroupAPIServers, GroupCalicoCNI, GroupCalico, GroupBaseline string
	// Bound are the roles that the baseline controller binds.
	Bound          []string
	DNSReplicas    int
	CorefileDigest string
	// Standard is the tier of namespaces that no other names, and Names what it limits.
	Standard v1alpha1.Tier
	Names    []string
	Silent   silent
}

func (in Input) validate() error {
	switch {
	case !in.DNSServiceIP.IsValid():
		return errors.New("baseline: no address for the DNS Service")
	case !in.APIServer.IsValid():
		return errors.New("baseline: no address of the API servers' load balancer")
	case in.ClusterDomain == "":
		return errors.New("baseline: no cluster domain")
	case in.CoreDNSImage == "":
		return errors.New("baseline: no image of CoreDNS")
	}
	return nil
}

// Objects returns the baseline, sorted: namespaces come first.
func Objects(in Input) ([]*unstructured.Unstructured, error) {
	if err := in.validate(); err != nil {
		return nil, err
	}
	dns, err := manifests.ReadFile("manifests/dns.yaml")
	if err != nil {
		return nil, err
	}
	v := view{
		Input: in, DNSReplicas: min(max(in.Workers, 1), 2),
		GroupAdmins: unit.GroupAdmins, GroupAPIServers: unit.GroupAPIServers,
		GroupCalicoCNI: unit.GroupCalicoCNI, GroupCalico: unit.GroupCalico, GroupBaseline: unit.GroupBaseline,
		Standard: in.Isolation.StandardTier(), Names: slices.Sorted(maps.Keys(in.Isolation.StandardTier().Limits)),
		CorefileDigest: digest(string(dns), in.ClusterDomain, fmt.Sprint(in.UpstreamDNS)),
		Silent:         silentOf(in.Isolation),
	}
	classes := isolation.Classes(in.Isolation)
	out, err := roleObjects(slices.Concat(authz.Model(in.ServiceAccounts).Roles(), isolation.Roles(classes)))
	if err != nil {
		return nil, err
	}
	for _, role := range out {
		v.Bound = append(v.Bound, role.GetName())
	}
	out = append(out, isolation.Policies(classes)...)
	for _, o := range out {
		label(o)
	}
	names, err := fs.Glob(manifests, "manifests/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		objects, err := render(name, v)
		if err != nil {
			return nil, fmt.Errorf("baseline: %s: %w", name, err)
		}
		out = append(out, objects...)
	}
	slices.SortStableFunc(out, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(
			cmp.Compare(order(a), order(b)),
			cmp.Compare(a.GetKind(), b.GetKind()),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()),
			cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, nil
}

// roleObjects are roles as all other objects of the baseline are.
func roleObjects(roles []rbacv1.ClusterRole) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, role := range roles {
		o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&role)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{Object: o}
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		out = append(out, u)
	}
	return out, nil
}

// order puts first what others need to exist.
func order(o *unstructured.Unstructured) int {
	if o.GetKind() == "Namespace" {
		return 0
	}
	return 1
}

func render(name string, v view) ([]*unstructured.Unstructured, error) {
	source, err := manifests.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").
		Funcs(template.FuncMap{"list": func(s ...string) []string { return s }, "levels": func(ns string) map[string]string { return isolation.LevelLabels(isolation.Level(v.Isolation, ns, nil)) }, "cel": celList}).Parse(string(source))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, v); err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(&text, 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if len(o.Object) == 0 {
			continue // a document of comments
		}
		if _, ok := kinds[o.GroupVersionKind()]; !ok {
			return nil, fmt.Errorf("%s is not among the kinds of the baseline", o.GroupVersionKind())
		}
		label(o)
		out = append(out, o)
	}
}

func label(o *unstructured.Unstructured) {
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelManagedBy], labels[LabelPartOf] = managedBy, partOf
	o.SetLabels(labels)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%q", p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Manages says whether an object with these labels is Ashlar's own.
func Manages(labels map[string]string) bool { return labels[LabelManagedBy] == managedBy }

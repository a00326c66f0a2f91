package authz

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
)

// maxManifests is more than any cluster's RBAC; what is larger is not that.
const maxManifests = 64 << 20

// ReadRBAC reads the RBAC objects of a file: YAML or JSON, documents or lists of them, nothing else in it. Its error has
// all that is wrong.
func ReadRBAC(r []byte, filename string) (*RBAC, error) {
	if len(r) > maxManifests {
		return nil, Errors{{File: filename, Line: 1, Message: fmt.Sprintf("has %d bytes; more than %d are not read", len(r), maxManifests)}}
	}
	m := manifests{file: filename, out: new(RBAC), first: map[string]int{}}
	documents := yaml.NewDecoder(bytes.NewReader(r))
	for m.document = 1; ; m.document++ {
		var root yaml.Node
		err := documents.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // what follows cannot be told apart
			m.errs = append(m.errs, m.syntax(err, r))
			break
		}
		m.object(root.Content[0])
	}
	if len(m.errs) > 0 {
		return nil, m.errs
	}
	return m.out, nil
}

// manifests is a file that is being read.
type manifests struct {
	file     string
	document int
	first    map[string]int // line of each object, by kind and name
	out      *RBAC
	errs     Errors
}

func (m *manifests) fail(n *yaml.Node, path, format string, args ...any) {
	m.errs = append(m.errs, Error{File: m.file, Document: m.document, Line: lineOf(n, path), Path: path, Message: fmt.Sprintf(format, args...)})
}

func (m *manifests) object(n *yaml.Node) {
	if n.ShortTag() == "!!null" { // nothing between two separators
		return
	}
	meta := metav1.TypeMeta{APIVersion: scalar(n, "apiVersion"), Kind: scalar(n, "kind")}
	rbac := meta.APIVersion == rbacv1.SchemeGroupVersion.String()
	switch {
	case n.Kind != yaml.MappingNode:
		m.fail(n, "", "is not an object")
	case meta.Kind == "List" && meta.APIVersion == "v1",
		rbac && slices.Contains([]string{"RoleList", "ClusterRoleList", "RoleBindingList", "ClusterRoleBindingList"}, meta.Kind):
		m.list(n, meta)
	case rbac && meta.Kind == "Role":
		add(m, n, &m.out.Roles, validRole)
	case rbac && meta.Kind == "ClusterRole":
		add(m, n, &m.out.ClusterRoles, validClusterRole)
	case rbac && meta.Kind == "RoleBinding":
		add(m, n, &m.out.RoleBindings, validRoleBinding)
	case rbac && meta.Kind == "ClusterRoleBinding":
		add(m, n, &m.out.ClusterRoleBindings, validClusterRoleBinding)
	default:
		m.fail(n, "kind", "%q of apiVersion %q is not a kind of %s", meta.Kind, meta.APIVersion, rbacv1.SchemeGroupVersion)
	}
}

// list has the kind of its items in its own when they don't say it themselves.
func (m *manifests) list(n *yaml.Node, meta metav1.TypeMeta) {
	items := child(n, "items")
	if items == nil || items.Kind != yaml.SequenceNode {
		m.fail(n, "items", "must be a list")
		return
	}
	for _, item := range items.Content {
		if meta.Kind != "List" && item.Kind == yaml.MappingNode && child(item, "kind") == nil {
			item.Content = append(item.Content, text(item, "kind"), text(item, meta.Kind[:len(meta.Kind)-len("List")]),
				text(item, "apiVersion"), text(item, meta.APIVersion))
		}
		m.object(item)
	}
}

// text is a string at the place of another node.
func text(at *yaml.Node, s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: at.Line}
}

// object is any of the kinds.
type object[T any] interface {
	*T
	metav1.Object
}

func add[T any, P object[T]](m *manifests, n *yaml.Node, to *[]T, check func(o P, fail func(path, format string, args ...any))) {
	o := P(new(T))
	if err := decodeObject(n, o); err != nil {
		m.fail(n, err.path, "%s", err.message)
		return
	}
	id := scalar(n, "kind") + " " + o.GetNamespace() + "/" + o.GetName()
	if line, again := m.first[id]; again {
		m.fail(n, "metadata", "%s is already in line %d", id, line)
	}
	m.first[id] = n.Line
	check(o, func(path, format string, args ...any) { m.fail(n, path, format, args...) })
	*to = append(*to, *o)
}

// badField is what a node has that its kind has not, or the other way round.
type badField struct{ path, message string }

func decodeObject(n *yaml.Node, into any) *badField {
	var tree any
	if err := n.Decode(&tree); err != nil {
		return &badField{message: trimYAML(err)}
	}
	encoded, err := stdjson.Marshal(tree)
	if err != nil {
		return &badField{message: "has a key that is not text"}
	}
	strict, err := json.UnmarshalStrict(encoded, into)
	if err != nil {
		return mistyped(n, err)
	}
	if len(strict) > 0 {
		return &badField{path: quoted(strict[0]), message: "is not a field"}
	}
	return nil
}

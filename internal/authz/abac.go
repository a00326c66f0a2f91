package authz

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
)

const (
	abacVersion = "abac.authorization.kubernetes.io/v1beta1"

	groupAuthenticated   = "system:authenticated"
	groupUnauthenticated = "system:unauthenticated"
	groupMasters         = "system:masters"
	userAnonymous        = "system:anonymous"

	serviceAccountPrefix = "system:serviceaccount:"
	groupServiceAccounts = "system:serviceaccounts"
)

// ABACLine is one line of an ABAC policy file.
type ABACLine struct {
	metav1.TypeMeta `json:",inline"`
	Spec            ABACSpec `json:"spec"`
}

// ABACSpec is what a line allows, to whom. "*" matches anything.
type ABACSpec struct {
	User            string `json:"user,omitempty"`
	Group           string `json:"group,omitempty"`
	Readonly        bool   `json:"readonly,omitempty"`
	APIGroup        string `json:"apiGroup,omitempty"`
	Resource        string `json:"resource,omitempty"`
	Namespace       string `json:"namespace,omitempty"`
	NonResourcePath string `json:"nonResourcePath,omitempty"`
}

// ReadABAC reads an ABAC policy file as the API server does, a line at a time, but strictly. Its error has every bad line.
func ReadABAC(r []byte, filename string) (*Policy, error) {
	p, errs := new(Policy), Errors{}
	lines := bufio.NewScanner(bytes.NewReader(r))
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		spec, err := decodeABAC(text)
		if err != nil {
			errs = append(errs, Error{File: filename, Line: n, Message: err.Error()})
			continue
		}
		source := fmt.Sprintf("line %d", n)
		p.Grants = append(p.Grants, spec.grants(source)...)
		for _, w := range spec.warnings() {
			p.Warnings = append(p.Warnings, source+": "+w)
		}
	}
	if err := lines.Err(); err != nil { // the API server reads with the same limit, and refuses to start
		errs = append(errs, Error{File: filename, Line: n + 1, Message: fmt.Sprintf("is longer than %d bytes", bufio.MaxScanTokenSize)})
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return p, nil
}

func decodeABAC(text []byte) (*ABACSpec, error) {
	var meta metav1.TypeMeta
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &meta); err != nil {
		return nil, fmt.Errorf("is not a JSON object: %w", err)
	}
	switch {
	case meta.APIVersion == "" || meta.Kind == "" || strings.HasSuffix(meta.APIVersion, "/v0"):
		return nil, fmt.Errorf("is in the unversioned format of Kubernetes 1.2, where what is left out matches everything; "+
			`write it with "apiVersion":%q,"kind":"Policy","spec":{...}`, abacVersion)
	case meta.APIVersion != abacVersion || meta.Kind != "Policy":
		return nil, fmt.Errorf("is a %s of %s, not a Policy of %s", meta.Kind, meta.APIVersion, abacVersion)
	}
	var line ABACLine
	strict, err := json.UnmarshalStrict(text, &line)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return nil, err
	}
	return &line.Spec, nil
}

// grants turns a line into two: its namespace limits which objects, not which paths.
func (s *ABACSpec) grants(source string) []Grant {
	verbs := []string{"*"}
	if s.Readonly {
		verbs = []string{"get", "list", "watch"}
	}
	who := s.principal()
	return []Grant{
		{
			Principal: who, Everywhere: s.Namespace == "*", Namespace: s.Namespace, Source: source,
			Rule: &Rule{Verbs: verbs, APIGroups: []string{s.APIGroup}, Resources: []string{s.Resource}, AnySubresource: true},
		},
		{Principal: who, Everywhere: true, Source: source, Rule: &Rule{Verbs: verbs, Paths: []string{s.NonResourcePath}}},
	}
}

// principal of a "*" is everybody authenticated, whatever the other field says.
func (s *ABACSpec) principal() Principal {
	if s.User == "*" || s.Group == "*" {
		return Principal{Group: groupAuthenticated}
	}
	return Principal{User: s.User, Group: s.Group}
}

func (s *ABACSpec) warnings() []string {
	var out []string
	switch {
	case s.User == "" && s.Group == "":
		out = append(out, "has neither user nor group, so it allows nobody anything")
	case s.User == "*" && s.Group != "" && s.Group != "*":
		out = append(out, fmt.Sprintf("user * makes it hold for everybody authenticated, not only for group %s", s.Group))
	case s.Group == "*" && s.User != "" && s.User != "*":
		out = append(out, fmt.Sprintf("group * makes it hold for everybody authenticated, not only for user %s", s.User))
	}
	if s.Resource == "" && s.NonResourcePath == "" {
		out = append(out, "has neither resource nor nonResourcePath, so it allows nothing")
	}
	return out
}

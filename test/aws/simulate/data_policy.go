package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// document and statement are a policy, with its parts in the order in which the provider writes them.
type document struct {
	Version   string       `json:",omitempty"`
	ID        string       `json:"Id,omitempty"`
	Statement []*statement `json:",omitempty"`
}

type statement struct {
	Sid          string `json:",omitempty"`
	Effect       string `json:",omitempty"`
	Action       any    `json:",omitempty"`
	NotAction    any    `json:",omitempty"`
	Resource     any    `json:",omitempty"`
	NotResource  any    `json:",omitempty"`
	Principal    any    `json:",omitempty"`
	NotPrincipal any    `json:",omitempty"`
	Condition    any    `json:",omitempty"`
}

// policyDocument renders a policy.
func policyDocument(a *answer) error {
	d := document{Version: a.str("version"), ID: a.str("policy_id")}
	if d.Version == "" {
		d.Version = "2012-10-17"
	}
	if err := d.merge(texts(a.config["source_policy_documents"]), false); err != nil {
		return err
	}
	for _, v := range a.config["statement"].AsValueSlice() {
		s, err := newStatement(&object{values: v.AsValueMap()})
		if err != nil {
			return err
		}
		d.add(s, false)
	}
	if err := d.merge(texts(a.config["override_policy_documents"]), true); err != nil {
		return err
	}
	long, err := render(d, "  ")
	if err != nil {
		return err
	}
	short, err := render(d, "")
	if err != nil {
		return err
	}
	a.set("version", d.Version)
	a.set("json", long)
	a.set("minified_json", short)
	a.set("id", fmt.Sprint(crc32.ChecksumIEEE([]byte(long))))
	return nil
}

// render writes a document as JSON. A policy's < and > stay as they are.
func render(d document, indent string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(d)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// add appends a statement, or puts it in the place of the one that has the same Sid.
func (d *document) add(s *statement, override bool) {
	i := slices.IndexFunc(d.Statement, func(o *statement) bool { return o.Sid == s.Sid && s.Sid != "" && override })
	if i < 0 {
		d.Statement = append(d.Statement, s)
		return
	}
	d.Statement[i] = s
}

func (d *document) merge(texts []string, override bool) error {
	for _, text := range texts {
		if text == "" {
			continue
		}
		var from document
		if err := json.Unmarshal([]byte(text), &from); err != nil {
			return fmt.Errorf("reading a policy document to merge: %w", err)
		}
		for _, s := range from.Statement {
			d.add(s, override)
		}
	}
	return nil
}

func newStatement(o *object) (*statement, error) {
	s := &statement{Sid: o.str("sid"), Effect: o.str("effect")}
	if s.Effect == "" {
		s.Effect = "Allow"
	}
	if s.Effect != "Allow" && s.Effect != "Deny" {
		return nil, fmt.Errorf("effect must be Allow or Deny, not %q", s.Effect)
	}
	for to, name := range map[*any]string{&s.Action: "actions", &s.NotAction: "not_actions", &s.Resource: "resources", &s.NotResource: "not_resources"} {
		*to = oneOrMany(variables(texts(o.values[name])))
	}
	s.Principal, s.NotPrincipal = principals(o.values["principals"]), principals(o.values["not_principals"])
	conditions := map[string]map[string]any{}
	for _, v := range o.values["condition"].AsValueSlice() {
		c := &object{values: v.AsValueMap()}
		test := conditions[c.str("test")]
		if test == nil {
			test = map[string]any{}
			conditions[c.str("test")] = test
		}
		test[c.str("variable")] = oneOrMany(variables(texts(c.values["values"])))
	}
	if len(conditions) > 0 {
		s.Condition = conditions
	}
	return s, nil
}

func principals(v cty.Value) any {
	all := map[string][]string{}
	for _, p := range v.AsValueSlice() {
		o := &object{values: p.AsValueMap()}
		all[o.str("type")] = append(all[o.str("type")], variables(texts(o.values["identifiers"]))...)
	}
	if slices.Equal(all["*"], []string{"*"}) && len(all) == 1 {
		return "*"
	}
	out := map[string]any{}
	for typ, ids := range all {
		out[typ] = oneOrMany(ids)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// variables writes &{aws:username}, which is how HCL lets a policy have a variable, as ${aws:username}.
func variables(in []string) (out []string) {
	for _, s := range in {
		out = append(out, strings.ReplaceAll(s, "&{", "${"))
	}
	return out
}

// oneOrMany is a text, or several in the provider's order, which is from the last to the first.
func oneOrMany(all []string) any {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	all = slices.Clone(all)
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

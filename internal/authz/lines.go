package authz

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// child is the value of a key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// scalar is the text of a key, or nothing.
func scalar(n *yaml.Node, key string) string {
	if c := child(n, key); c != nil && c.Kind == yaml.ScalarNode {
		return c.Value
	}
	return ""
}

var step = regexp.MustCompile(`[^.\[\]]+|\[\d+\]`)

// lineOf returns the line of a path like rules[1].verbs, or of the nearest thing around it that is there.
func lineOf(n *yaml.Node, path string) int {
	line := n.Line
	for _, s := range step.FindAllString(path, -1) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := child(n, s)
		if i, err := strconv.Atoi(strings.Trim(s, "[]")); err == nil && strings.HasPrefix(s, "[") && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			next = n.Content[i]
		}
		if next == nil {
			return line
		}
		n, line = next, keyLine(n, next)
	}
	return line
}

// keyLine is where a value's key is: a list begins a line after it.
func keyLine(parent, value *yaml.Node) int {
	for i := 0; i+1 < len(parent.Content) && parent.Kind == yaml.MappingNode; i += 2 {
		if parent.Content[i+1] == value {
			return parent.Content[i].Line
		}
	}
	return value.Line
}

var mistype = regexp.MustCompile(`cannot unmarshal (\w+) .*into Go struct field \w+\.(\S+) of type (\S+)`)

// mistyped makes sense of an error of json, which names the path of a value but not its place in lists.
func mistyped(n *yaml.Node, err error) *badField {
	m := mistype.FindStringSubmatch(err.Error())
	if m == nil {
		return &badField{message: strings.TrimPrefix(err.Error(), "json: ")}
	}
	path := find(n, strings.Split(m[2], "."), "", m[1])
	if path == "" {
		path = m[2]
	}
	return &badField{path, "must not be " + article(m[1])}
}

// find returns the first path along these keys, whatever the lists between, that ends at a value of a kind.
func find(n *yaml.Node, keys []string, path, kind string) string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if len(keys) == 0 && is(n, kind) {
		return path
	}
	if n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			if found := find(item, keys, path+"["+strconv.Itoa(i)+"]", kind); found != "" {
				return found
			}
		}
		return ""
	}
	if len(keys) == 0 || child(n, keys[0]) == nil {
		return ""
	}
	return find(child(n, keys[0]), keys[1:], strings.TrimPrefix(path+"."+keys[0], "."), kind)
}

func is(n *yaml.Node, kind string) bool {
	switch kind {
	case "object":
		return n.Kind == yaml.MappingNode
	case "array":
		return n.Kind == yaml.SequenceNode
	case "string":
		return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp")
	case "bool":
		return n.ShortTag() == "!!bool"
	}
	return n.ShortTag() == "!!int" || n.ShortTag() == "!!float"
}

func article(kind string) string {
	switch kind {
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	case "string":
		return "text"
	}
	return "a " + kind
}

var inQuotes = regexp.MustCompile(`"([^"]*)"`)

// quoted is the field that a strict decoder's complaint names.
func quoted(err error) string {
	if m := inQuotes.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return err.Error()
}

var atLine = regexp.MustCompile(`line (\d+): `)

// syntax is an error of the YAML parser, whose line is in its text.
func (m *manifests) syntax(err error, r []byte) Error {
	line := 1 + bytes.Count(r, []byte("\n"))
	if found := atLine.FindStringSubmatch(err.Error()); found != nil {
		line, _ = strconv.Atoi(found[1])
	}
	return Error{File: m.file, Document: m.document, Line: line, Message: "is not YAML: " + trimYAML(err)}
}

func trimYAML(err error) string {
	return strings.TrimSpace(atLine.ReplaceAllString(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n"), ""))
}

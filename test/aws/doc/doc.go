// Package doc writes the tables in the READMEs of the OpenTofu modules: what a module takes, gives, and what is in each
// of its files. They are read from the modules themselves, so that they cannot say anything else.
package doc

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Module is what the README of a module has tables of.
type Module struct {
	Files     []File
	Variables []Variable
	Outputs   []Output
	// Types are the resource types that it makes, sorted.
	Types []string
}

// File is a file and what its first comment says.
type File struct{ Name, About string }

// Variable is something that a module takes, in the words of its file.
type Variable struct {
	Name, Type, Default, Description string
	Required                         bool
}

// Output is something that a module gives.
type Output struct{ Name, Description string }

// Read reads a module, in the order of its files and of what is in them.
func Read(dir string) (*Module, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("reading the module %s: it has no .tf files: %w", dir, err)
	}
	m := &Module{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, problems := hclparse.NewParser().ParseHCL(text, path)
		if problems.HasErrors() {
			return nil, fmt.Errorf("reading the module %s: %w", dir, problems)
		}
		m.Files = append(m.Files, File{filepath.Base(path), heading(string(text))})
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			m.add(b, text)
		}
	}
	slices.Sort(m.Types)
	m.Types = slices.Compact(m.Types)
	return m, nil
}

func (m *Module) add(b *hclsyntax.Block, text []byte) {
	switch b.Type {
	case "resource":
		m.Types = append(m.Types, b.Labels[0])
	case "output":
		m.Outputs = append(m.Outputs, Output{b.Labels[0], said(b, "description", text)})
	case "variable":
		v := Variable{Name: b.Labels[0], Type: said(b, "type", text), Description: said(b, "description", text)}
		v.Default = said(b, "default", text)
		v.Required = b.Body.Attributes["default"] == nil
		m.Variables = append(m.Variables, v)
	}
}

// said is what an attribute is set to: a text without its quotes, and all else as it is written.
func said(b *hclsyntax.Block, name string, text []byte) string {
	a := b.Body.Attributes[name]
	if a == nil {
		return ""
	}
	if v, problems := a.Expr.Value(nil); name == "description" && !problems.HasErrors() {
		return v.AsString()
	}
	r := a.Expr.Range()
	return string(hcl.Range{Start: r.Start, End: r.End}.SliceBytes(text))
}

// heading is the comment that a file begins with, before its first empty line.
func heading(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		said, is := strings.CutPrefix(line, "#")
		if !is {
			break
		}
		words = append(words, strings.TrimSpace(said))
	}
	return strings.Join(words, " ")
}

var section = regexp.MustCompile(`(?s)(<!-- (files|variables|outputs) -->\n).*?(<!-- end -->)`)

// Write puts the tables between the marks that are there for them.
func (m *Module) Write(readme string) string {
	return section.ReplaceAllStringFunc(readme, func(all string) string {
		part := section.FindStringSubmatch(all)
		return part[1] + m.table(part[2]) + part[3]
	})
}

func (m *Module) table(of string) string {
	var rows [][]string
	switch of {
	case "files":
		rows = append(rows, []string{"File", "What is in it"})
		for _, f := range m.Files {
			rows = append(rows, []string{"`" + f.Name + "`", f.About})
		}
	case "variables":
		rows = append(rows, []string{"Variable", "Type", "Default", "Description"})
		for _, v := range m.Variables {
			byDefault := "`" + flat(v.Default) + "`"
			if v.Required {
				byDefault = "required"
			}
			rows = append(rows, []string{"`" + v.Name + "`", "`" + flat(v.Type) + "`", byDefault, v.Description})
		}
	case "outputs":
		rows = append(rows, []string{"Output", "Description"})
		for _, o := range m.Outputs {
			rows = append(rows, []string{"`" + o.Name + "`", o.Description})
		}
	}
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(escaped(row), " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat(" --- |", len(row)) + "\n")
		}
	}
	return b.String()
}

func escaped(row []string) []string {
	out := slices.Clone(row)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "|", `\|`)
	}
	return out
}

var (
	spaces = regexp.MustCompile(`\s+`)
	opened = regexp.MustCompile(`([({]) `)
	fields = regexp.MustCompile(`([^({,]) (\w+ = )`)
	equals = regexp.MustCompile(` = `)
)

// flat is a type in one line: object({a: string, b: number}).
func flat(s string) string {
	s = spaces.ReplaceAllString(s, " ")
	s = opened.ReplaceAllString(s, "$1")
	s = fields.ReplaceAllString(s, "$1, $2")
	s = equals.ReplaceAllString(s, ": ")
	return strings.ReplaceAll(strings.ReplaceAll(s, " })", "})"), " )", ")")
}

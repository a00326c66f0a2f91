package symbol

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// module is the source of one.
type module struct {
	variables, calls, resources map[string]*hclsyntax.Block // resources by type.name, data by data.type.name
	locals, outputs             map[string]hcl.Expression
}

// parse reads the files of a directory.
func parse(files fs.FS, dir string) (*module, error) {
	m := &module{variables: map[string]*hclsyntax.Block{}, calls: map[string]*hclsyntax.Block{}, resources: map[string]*hclsyntax.Block{},
		locals: map[string]hcl.Expression{}, outputs: map[string]hcl.Expression{}}
	names, err := fs.Glob(files, path.Join(dir, "*.tf"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("there is no module in %s: %w", dir, cmpErr(err, fs.ErrNotExist))
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		f, diags := hclsyntax.ParseConfig(b, name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, fmt.Errorf("read %s: %w", name, diags)
		}
		body, ok := f.Body.(*hclsyntax.Body)
		if !ok {
			return nil, fmt.Errorf("read %s: it is not in HCL's own syntax", name)
		}
		for _, block := range body.Blocks {
			m.block(block)
		}
	}
	return m, nil
}

func (m *module) block(b *hclsyntax.Block) {
	name := strings.Join(b.Labels, ".")
	switch b.Type {
	case "variable":
		m.variables[name] = b
	case "module":
		m.calls[name] = b
	case "resource":
		m.resources[name] = b
	case "data":
		m.resources["data."+name] = b
	case "locals":
		for name, a := range b.Body.Attributes {
			m.locals[name] = a.Expr
		}
	case "output":
		if a := b.Body.Attributes["value"]; a != nil {
			m.outputs[name] = a.Expr
		}
	}
}

// source is the directory of a called module; nothing if that is not beside us.
func source(call *hclsyntax.Block, dir string) string {
	a := call.Body.Attributes["source"]
	if a == nil {
		return ""
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() || v.IsNull() {
		return ""
	}
	s := v.AsString()
	if !strings.HasPrefix(s, "./") && !strings.HasPrefix(s, "../") {
		return ""
	}
	return path.Join(dir, s)
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// Format is how a command answers.
type Format string

// The formats of -o.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Set makes Format a flag.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case Table, JSON, YAML:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("%q is none of table, json, yaml", s)
}

// String is the flag's value.
func (f *Format) String() string { return string(*f) }

// Type names the flag's values in help.
func (f *Format) Type() string { return "table|json|yaml" }

// Write prints v as JSON or YAML, or calls table.
func Write(w io.Writer, f Format, v any, table func(io.Writer) error) error {
	switch f {
	case JSON:
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, string(b))
		return err
	case YAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	default:
		return table(w)
	}
}

// Rows prints a table with aligned columns. A cell's last column may be as long as it likes.
func Rows(w io.Writer, header []string, rows [][]string) error {
	widths := make([]int, len(header))
	for _, r := range append([][]string{header}, rows...) {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fancy := IsTerminal(w)
	for n, r := range append([][]string{header}, rows...) {
		var b strings.Builder
		for i, cell := range r {
			b.WriteString(cell)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+3))
			}
		}
		line := b.String()
		if fancy && n == 0 {
			line = dim.wrap(line)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// Mark colours a word by what it means, on a terminal only.
func Mark(w io.Writer, good bool, s string) string {
	if !IsTerminal(w) {
		return s
	}
	if good {
		return green.wrap(s)
	}
	return red.wrap(s)
}

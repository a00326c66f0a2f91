package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
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

// Rows prints a table with aligned columns, a line for each row. The last column may be as long as it likes.
func Rows(w io.Writer, header []string, rows [][]string) error {
	all := append([][]string{header}, rows...)
	widths := make([]int, len(header))
	for _, r := range all {
		for i, cell := range r {
			widths[i] = max(widths[i], width(oneLine(cell)))
		}
	}
	fancy := IsTerminal(w)
	for n, r := range all {
		var b strings.Builder
		for i, cell := range r {
			cell = oneLine(cell)
			b.WriteString(cell)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-width(cell)+3))
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

// oneLine keeps a cell in its row: what a program or a server answered may have line breaks and tabs.
func oneLine(cell string) string { return strings.Join(strings.Fields(cell), " ") }

var colours = regexp.MustCompile("\x1b\\[[0-9]*m")

// width is how many columns s takes; colours take none.
func width(s string) int { return utf8.RuneCountInString(colours.ReplaceAllString(s, "")) }

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

package ui

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRows(t *testing.T) {
	for _, c := range []struct {
		name   string
		header []string
		rows   [][]string
		want   []string
	}{
		{"a column is as wide as its widest cell", []string{"NAME", "ROLE", "NOTE"}, [][]string{{"etcd-0", "etcd", "a"}, {"control-plane-0", "control-plane", "b"}}, []string{
			"NAME              ROLE            NOTE",
			"etcd-0            etcd            a",
			"control-plane-0   control-plane   b",
		}},
		{"characters count, not bytes", []string{"WHERE", "WHAT"}, [][]string{{"größe", "1"}, {"…", "2"}, {"worker", "3"}}, []string{
			"WHERE    WHAT",
			"größe    1",
			"…        2",
			"worker   3",
		}},
		{"colours take no room", []string{"VERDICT", "CLAIM"}, [][]string{{green.wrap("holds"), "a"}, {red.wrap("broken"), "b"}}, []string{
			"VERDICT   CLAIM",
			"\x1b[32mholds\x1b[0m     a",
			"\x1b[31mbroken\x1b[0m    b",
		}},
		{"a cell stays in its row", []string{"A", "ANSWER"}, [][]string{{"x\ty", "first\nsecond\r\n"}, {"z", ""}}, []string{
			"A     ANSWER",
			"x y   first second",
			"z",
		}},
		{"no rows", []string{"A", "B"}, nil, []string{"A   B"}},
	} {
		var out strings.Builder
		if err := Rows(&out, c.header, c.rows); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(strings.Join(c.want, "\n")+"\n", out.String()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestWrite(t *testing.T) {
	took := Timing{Phase: "units", Seconds: 1.5, Took: 1500 * time.Millisecond}
	for format, want := range map[Format]string{
		Table: "a table\n",
		JSON:  "{\n  \"phase\": \"units\",\n  \"seconds\": 1.5\n}\n",
		YAML:  "phase: units\nseconds: 1.5\n",
	} {
		var out strings.Builder
		err := Write(&out, format, took, func(w io.Writer) error {
			_, err := io.WriteString(w, "a table\n")
			return err
		})
		if err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v; want %q", format, out.String(), err, want)
		}
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteSaysWhenItCannot(t *testing.T) {
	for _, format := range []Format{Table, JSON, YAML} {
		err := Write(full{}, format, 1, func(w io.Writer) error { return Rows(w, []string{"A"}, nil) })
		if !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", format, err)
		}
		if format == Table {
			continue
		}
		if err := Write(io.Discard, format, func() {}, nil); err == nil {
			t.Errorf("%s: a function was written", format)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, s := range []string{"table", "json", "yaml"} {
		f := Format("before")
		if err := f.Set(s); err != nil || f.String() != s {
			t.Errorf("%s: got %s, %v", s, f, err)
		}
	}
	for _, s := range []string{"", "JSON", "yml", "json "} {
		f := Table
		err := f.Set(s)
		if err == nil || !strings.Contains(err.Error(), "table, json, yaml") {
			t.Errorf("%q: the error does not say what there is: %v", s, err)
		}
		if f != Table {
			t.Errorf("%q was taken over", s)
		}
	}
}

func TestMarkHasNoColourInAFile(t *testing.T) {
	if got := Mark(io.Discard, true, "holds"); got != "holds" {
		t.Errorf("got %q", got)
	}
}

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/ui"
)

// matrixTable prints classes as rows and, by their numbers, as columns.
func matrixTable(w io.Writer, m *network.Matrix, now time.Time) error {
	header := []string{"#", "FROM \\ TO"}
	for i := range m.Classes {
		header = append(header, fmt.Sprint(i+1))
	}
	var rows [][]string
	for i, from := range m.Classes {
		row := []string{fmt.Sprint(i + 1), from.Name}
		for _, to := range m.Classes {
			cell := m.Between(from.Name, to.Name)
			row = append(row, ui.Mark(w, cell.Agrees, cell.Text))
		}
		rows = append(rows, row)
	}
	if err := ui.Rows(w, header, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := differences(w, m); err != nil {
		return err
	}
	for _, note := range m.Notes {
		fmt.Fprintf(w, "%s %s\n", ui.Mark(w, false, "note"), note)
	}
	measured := "not observed yet: --observe measures it"
	if !m.Observed.IsZero() {
		measured = "observed " + now.Sub(m.Observed).Round(time.Second).String() + " ago"
	}
	_, err := fmt.Fprintf(w, "%s, %s\n", agreement(m), measured)
	return err
}

func agreement(m *network.Matrix) string {
	differ := len(m.Differing())
	return fmt.Sprintf("%d cells, %d agree, %d differ", len(m.Cells), len(m.Cells)-differ, differ)
}

func differences(w io.Writer, m *network.Matrix) error {
	var rows [][]string
	for _, c := range m.Differing() {
		to := c.To
		if c.Service != "" {
			to = "Service " + c.Service
		}
		rows = append(rows, []string{c.From, to, network.PortName(c.Port), string(c.Declared), string(c.Simulated), string(c.Observed), c.Differ[0]})
	}
	if len(rows) == 0 {
		return nil
	}
	err := ui.Rows(w, []string{"FROM", "TO", "PORT", "DECLARED", "SIMULATED", "OBSERVED", "DIFFERENCE"}, rows)
	fmt.Fprintln(w)
	return err
}

// testTable says how many connections of each kind came out as simulated.
func testTable(w io.Writer, m *network.Matrix, took time.Duration) error {
	if err := differences(w, m); err != nil {
		return err
	}
	var rows [][]string
	for _, t := range m.Tally() {
		rows = append(rows, []string{ui.Mark(w, t.Differ == 0, t.Kind), fmt.Sprint(t.Cells), fmt.Sprint(t.Open), fmt.Sprint(t.Refused), fmt.Sprint(t.Unknown), fmt.Sprint(t.Differ)})
	}
	if err := ui.Rows(w, []string{"TO", "CELLS", "OPEN", "REFUSED", "UNKNOWN", "DIFFER"}, rows); err != nil {
		return err
	}
	pairs := 0
	for _, c := range m.Cells {
		pairs += c.Pairs
	}
	_, err := fmt.Fprintf(w, "\n%d connections in %.1fs: %s\n", pairs, took.Seconds(), agreement(m))
	return err
}

func whyTable(w io.Writer, answers []network.Answer) error {
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		verdict := "refused"
		if a.Allowed {
			verdict = "allowed"
		}
		fmt.Fprintf(w, "%s → %s, port %s: %s\n", a.From, a.To, network.PortName(a.Port), ui.Mark(w, a.Allowed, verdict))
		for _, s := range a.Steps {
			fmt.Fprintf(w, "  %s\n", s)
		}
		declared := "not declared"
		if a.Declared {
			declared = "declared"
		}
		if _, err := fmt.Fprintf(w, "  %s: %s\n", declared, a.Says); err != nil {
			return err
		}
	}
	return nil
}

// renderPolicies is a stream of documents: Kubernetes' own, and Calico's.
func renderPolicies(c network.Compiled) ([]byte, error) {
	var all []any
	for _, p := range c.Kubernetes {
		all = append(all, p)
	}
	for _, r := range calico.Of(c) {
		metadata := map[string]any{"name": r.Name}
		if len(r.Labels) > 0 {
			metadata["labels"] = r.Labels
		}
		all = append(all, map[string]any{"apiVersion": "projectcalico.org/v3", "kind": r.Kind, "metadata": metadata, "spec": r.Spec})
	}
	var parts []string
	for _, o := range all {
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		parts = append(parts, string(text))
	}
	return []byte(strings.Join(parts, "---\n")), nil
}

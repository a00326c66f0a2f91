package v1alpha1

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a cluster file.
type Error struct {
	// File is as given to Decode; empty when the Cluster came from elsewhere.
	File string
	// Line counts from 1; a field that is missing has the line of what it is missing from. 0 is unknown.
	Line int
	// Path is the field, as spec.pools[1].count; empty is the file as a whole.
	Path string
	// Message says what is wrong and, where it can, what would be right.
	Message string
}

func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Message
}

// Errors is everything that is wrong with a cluster file, in the order of its lines.
type Errors []Error

// Error has one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(path, format string, args ...any) {
	*e = append(*e, Error{Path: path, Message: fmt.Sprintf(format, args...)})
}

// quote makes what a user wrote fit for a line of a terminal.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// nearest returns the word that the misspelt one was probably meant to be, or "".
func nearest(misspelt string, words []string) string {
	best, least := "", 3 // more than two slips are another word
	for _, w := range words {
		if strings.EqualFold(w, misspelt) {
			return w
		}
		if d := slips(misspelt, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// slips is the Levenshtein distance: how many characters were missed, added or exchanged.
func slips(a, b string) int {
	if diff := len(a) - len(b); diff > 2 || diff < -2 {
		return 3 // more than nearest asks for, and a key of a megabyte costs nothing
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, substitute)
		}
	}
	return row[len(b)]
}

package network

import "io"

// SVG draws the matrix.
func (m *Matrix) SVG(w io.Writer, title string) error { _, err := io.WriteString(w, title); return err }

// Objects lists.
func (c Compiled) Objects() []any { return nil }

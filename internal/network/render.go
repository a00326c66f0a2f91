package network

// Objects lists the policies as objects of the APIs that they are for, to be looked at.
func (c Compiled) Objects() []any {
	var out []any
	for _, p := range c.Kubernetes {
		out = append(out, p)
	}
	return out
}

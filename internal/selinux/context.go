// Package selinux reads and gives SELinux' labels. What it decides is pure; where a kernel has no SELinux, it says so and does nothing.
package selinux

import (
	"fmt"
	"strconv"
	"strings"
)

// Context is what the kernel knows a process or a file by.
type Context struct {
	User, Role, Type, Level string
}

// Types of processes in pods.
const (
	// Confined is a container.
	Confined = "container_t"
	// Unconfined is a privileged one, to which SELinux forbids nothing.
	Unconfined = "spc_t"
)

// Parse reads a context, as user:role:type:level.
func Parse(s string) (Context, error) {
	parts := strings.SplitN(strings.TrimRight(s, "\x00\n"), ":", 4)
	if len(parts) != 4 {
		return Context{}, fmt.Errorf("%q is no SELinux context of user, role, type and level", s)
	}
	return Context{User: parts[0], Role: parts[1], Type: parts[2], Level: parts[3]}, nil
}

func (c Context) String() string { return strings.Join([]string{c.User, c.Role, c.Type, c.Level}, ":") }

// Pair are the two categories of a level as s0:c1,c2, the smaller first; false if it has not just two.
func (c Context) Pair() (pair [2]int, ok bool) {
	_, categories, _ := strings.Cut(c.Level, ":")
	first, second, ok := strings.Cut(categories, ",")
	if !ok {
		return pair, false
	}
	for i, s := range []string{first, second} {
		digits, isCategory := strings.CutPrefix(s, "c")
		n, err := strconv.Atoi(digits)
		if !isCategory || err != nil || n < 0 {
			return pair, false
		}
		pair[i] = n
	}
	if pair[0] > pair[1] {
		pair[0], pair[1] = pair[1], pair[0]
	}
	return pair, pair[0] != pair[1]
}

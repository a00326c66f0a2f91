package selinux

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Mode is what a machine's kernel does by its policy.
type Mode string

// The modes.
const (
	Enforcing Mode = "enforcing"
	// Permissive notes what it would refuse, and refuses nothing.
	Permissive Mode = "permissive"
	// Absent: the kernel was not built with SELinux, or not booted with it.
	Absent Mode = "absent"
)

// State is SELinux on a machine.
type State struct {
	Mode Mode `json:"mode"`
	// Policy is the name of the machine's.
	Policy string `json:"policy,omitempty"`
}

// Follows is what a mode means for pods, for people.
func (s State) Follows() string {
	switch s.Mode {
	case Enforcing:
		return "each pod has a pair of categories of its own, and reaches nothing of the machine's or of another pod's that is not labelled for it"
	case Permissive:
		return "SELinux only notes what it would refuse: set SELINUX=enforcing in /etc/selinux/config, and run `setenforce 1`"
	default:
		return "the kernel has no SELinux, or was booted without it: pods are kept apart by namespaces, seccomp, capabilities and cgroups alone"
	}
}

// Filesystem is where the kernel shows SELinux, if it has it.
const Filesystem = "/sys/fs/selinux"

// Read looks at the machine; root is "/", but in tests.
func Read(root string) (State, error) {
	b, err := os.ReadFile(filepath.Join(root, Filesystem, "enforce"))
	if errors.Is(err, fs.ErrNotExist) {
		return State{Mode: Absent}, nil
	}
	if err != nil {
		return State{}, err
	}
	s := State{Mode: Permissive, Policy: policy(root)}
	if strings.TrimSpace(string(b)) == "1" {
		s.Mode = Enforcing
	}
	return s, nil
}

// policy is what the machine's configuration calls it; empty if it does not.
func policy(root string) string {
	b, err := os.ReadFile(filepath.Join(root, "/etc/selinux/config"))
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		if name, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "SELINUXTYPE="); ok {
			return name
		}
	}
	return ""
}

package selinux

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Process is one of a pod's.
type Process struct {
	PID       int     `json:"pid"`
	Command   string  `json:"command"`
	Container string  `json:"container"` // the id of it
	Context   Context `json:"context"`
}

// container is the id in a control group's path, by whichever driver.
var container = regexp.MustCompile(`[/:-]([0-9a-f]{64})(?:\.scope)?(?:/|$)`)

// Processes are those of containers; root is "/proc", but in tests. What ends meanwhile is left out.
func Processes(root string) ([]Process, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		read := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(root, e.Name(), name)) // nothing of one that has ended
			return strings.TrimRight(string(b), "\x00\n")
		}
		id := containerOf(read("cgroup"))
		if id == "" {
			continue
		}
		context, err := Parse(read("attr/current"))
		if err != nil {
			continue
		}
		all = append(all, Process{PID: pid, Command: read("comm"), Container: id, Context: context})
	}
	slices.SortFunc(all, func(a, b Process) int { return a.PID - b.PID })
	return all, nil
}

func containerOf(groups string) string {
	for line := range strings.SplitSeq(groups, "\n") {
		if m := container.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

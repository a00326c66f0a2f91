package contain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ashlar.dev/ashlar/internal/capability"
)

// parseStatus reads /proc/PID/status. Users are still the machine's.
func parseStatus(text string) (Process, error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	p := Process{Command: fields["Name"], NoNewPrivileges: fields["NoNewPrivs"] == "1"}
	for name, to := range map[string]*int{"Pid": &p.PID, "Uid": &p.User, "Gid": &p.Group, "Seccomp_filters": &p.Filters} {
		words := strings.Fields(fields[name])
		if name == "Uid" || name == "Gid" {
			if len(words) < 2 {
				return p, fmt.Errorf("no %s in the status of a process", name)
			}
			words = words[1:] // the effective one
		}
		if len(words) == 0 {
			continue // older kernels do not count filters
		}
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return p, fmt.Errorf("%s in the status of a process: %w", name, err)
		}
		*to = n
	}
	modes := []string{"disabled", "strict", "filter"}
	mode, err := strconv.Atoi(fields["Seccomp"])
	if err != nil || mode < 0 || mode >= len(modes) {
		return p, fmt.Errorf("the status of a process has the seccomp mode %q", fields["Seccomp"])
	}
	p.Seccomp = modes[mode]
	c := &p.Capabilities
	for name, to := range map[string]*[]string{"CapEff": &c.Effective, "CapPrm": &c.Permitted, "CapInh": &c.Inheritable, "CapBnd": &c.Bounding, "CapAmb": &c.Ambient} {
		bits, err := strconv.ParseUint(fields[name], 16, 64)
		if err != nil {
			return p, fmt.Errorf("%s in the status of a process: %w", name, err)
		}
		*to = capabilityNames(bits)
	}
	return p, nil
}

// capabilityNames returns those of a set, sorted. One that a newer kernel has goes by its number.
func capabilityNames(bits uint64) []string {
	out := []string{}
	for i := range 64 {
		switch {
		case bits&(1<<i) == 0:
		case i < len(capability.Names):
			out = append(out, capability.Names[i])
		default:
			out = append(out, strconv.Itoa(i))
		}
	}
	slices.Sort(out)
	return out
}

// parseRanges reads /proc/PID/uid_map or gid_map.
func parseRanges(text string) ([]Range, error) {
	out := []Range{}
	for line := range strings.Lines(text) {
		var r Range
		if _, err := fmt.Sscan(line, &r.Inside, &r.Machine, &r.Count); err != nil {
			return nil, fmt.Errorf("a map of users has the line %q: %w", line, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// overflow is whom the kernel calls those that a namespace does not know.
const overflow = 65534

// inside is who a user of the machine is to the container.
func inside(ranges []Range, id int) int {
	for _, r := range ranges {
		if n := int64(id) - r.Machine; n >= 0 && n < r.Count {
			return int(r.Inside + n)
		}
	}
	return overflow
}

// own says whether users are others than the machine's.
func own(ranges []Range) bool {
	return !slices.ContainsFunc(ranges, func(r Range) bool { return r.Inside == r.Machine && r.Count > overflow })
}

// alike says whether all that holds for one process holds for another.
func alike(a, b Process) bool {
	return a.User == b.User && a.Group == b.Group && a.Seccomp == b.Seccomp && a.Filters == b.Filters && a.NoNewPrivileges == b.NoNewPrivileges &&
		a.Label == b.Label && slices.EqualFunc(a.Capabilities.sets(), b.Capabilities.sets(), slices.Equal[[]string])
}

func (c Capabilities) sets() [][]string {
	return [][]string{c.Effective, c.Permitted, c.Inheritable, c.Bounding, c.Ambient}
}

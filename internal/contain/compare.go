package contain

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Fact is one thing that the kernel does, beside what the pod says of it.
type Fact struct {
	// Container is its name; Process is said where not all of its processes are alike.
	Container string `json:"container"`
	Process   string `json:"process,omitempty"`
	// What it is about, what the pod Says, and what the Kernel does.
	What   string `json:"what"`
	Says   string `json:"says"`
	Kernel string `json:"kernel"`
	// Differs is why the two are not the same.
	Differs string `json:"differs,omitempty"`
}

// Differing are the facts in which the kernel does not do what the pod says.
func Differing(facts []Fact) []Fact {
	var out []Fact
	for _, f := range facts {
		if f.Differs != "" {
			out = append(out, f)
		}
	}
	return out
}

// Compare holds what the kernel enforces on a pod's containers against what the pod says, container by container. A process can always
// give up more than it has to, so what it has less than the pod says is no difference; what it has more is one.
func Compare(pod *corev1.Pod, ceilings Ceilings, m Machine) []Fact {
	running := map[string]Container{}
	for _, c := range m.Containers {
		running[c.ID] = c
	}
	ids := IDs(pod)
	out := []Fact{}
	for _, s := range sayings(pod) {
		id, ok := ids[s.name]
		if !ok {
			continue
		}
		c, found := running[id]
		if !found || c.Gone != "" {
			out = append(out, Fact{Container: s.name, What: "process", Says: "running", Kernel: "none", Differs: "the machine has no such container: " + c.Gone})
			continue
		}
		out = append(out, s.compare(c, ceilings, m)...)
	}
	return out
}

// IDs are the containers of a pod that run, by name.
func IDs(pod *corev1.Pod) map[string]string {
	out := map[string]string{}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && s.State.Running != nil {
			out[s.Name] = id
		}
	}
	return out
}

func (s saying) compare(c Container, ceilings Ceilings, m Machine) []Fact {
	var out []Fact
	for i, p := range c.Processes {
		facts := s.process(p, i == 0, m.Kernel)
		if i > 0 { // of those that are unlike the first, only what is unlike
			before := s.process(c.Processes[0], true, m.Kernel)
			facts = slices.DeleteFunc(facts, func(f Fact) bool {
				return slices.ContainsFunc(before, func(b Fact) bool { return b.What == f.What && b.Kernel == f.Kernel })
			})
		}
		for _, f := range facts {
			if i > 0 {
				f.Process = fmt.Sprintf("%d %s", p.PID, p.Command)
			}
			out = append(out, f)
		}
	}
	out = append(out, s.users(c), s.namespaces(c))
	out = append(out, s.mounted(c, m)...)
	out = append(out, s.limits(c)...)
	out = append(out, ceilings.compare(c, s.pod)...)
	if len(c.Listens) > 0 || len(s.ports) > 0 {
		out = append(out, s.listens(c))
	}
	for i := range out {
		out[i].Container = s.name
	}
	return out
}

// process is what holds for one process; first, for the one that the container was started with, which nothing has changed yet.
func (s saying) process(p Process, first bool, k Kernel) []Fact {
	return []Fact{s.identity(p, first), s.calls(p), s.privileges(p), s.capable(p, k), s.label(p, k)}
}

func (s saying) identity(p Process, first bool) Fact {
	f := Fact{What: "user", Says: "as the image says", Kernel: fmt.Sprintf("%d:%d", p.User, p.Group)}
	switch user := s.user(); {
	case user != nil:
		f.Says = fmt.Sprint(*user)
		if first && int64(p.User) != *user && *user != 0 {
			f.Differs = fmt.Sprintf("it is user %d, not %d", p.User, *user)
		}
	case s.nonRoot():
		f.Says = "not root"
	}
	if s.nonRoot() && p.User == 0 {
		f.Differs = "it is root, which the pod says it never is"
	}
	if group := s.group(); group != nil {
		f.Says += fmt.Sprintf(":%d", *group)
		if first && int64(p.Group) != *group && *group != 0 && f.Differs == "" {
			f.Differs = fmt.Sprintf("it is of group %d, not %d", p.Group, *group)
		}
	}
	return f
}

func (s saying) calls(p Process) Fact {
	f := Fact{What: "system calls", Says: s.seccomp(), Kernel: p.Seccomp}
	if p.Filters > 1 {
		f.Kernel = fmt.Sprintf("%s × %d", p.Seccomp, p.Filters)
	}
	if f.Says != string(corev1.SeccompProfileTypeUnconfined) && p.Seccomp == "disabled" {
		f.Differs = "no filter is in force: every system call is let through"
	}
	return f
}

func (s saying) privileges(p Process) Fact {
	say := map[bool]string{true: "may grow", false: "never grow"}
	f := Fact{What: "privileges", Says: say[s.gains()], Kernel: say[!p.NoNewPrivileges]}
	if !s.gains() && !p.NoNewPrivileges {
		f.Differs = "a set-user-id program would give it more"
	}
	return f
}

func (s saying) capable(p Process, k Kernel) Fact {
	may := s.capabilities(k.Capabilities)
	f := Fact{What: "capabilities", Says: list(may, k), Kernel: list(p.Capabilities.Effective, k)}
	if !slices.Equal(p.Capabilities.Effective, p.Capabilities.Bounding) {
		f.Kernel += ", at most " + list(p.Capabilities.Bounding, k)
	}
	var more []string
	for _, set := range p.Capabilities.sets() {
		for _, name := range set {
			if !slices.Contains(may, name) && !slices.Contains(more, name) {
				more = append(more, name)
			}
		}
	}
	if len(more) > 0 {
		slices.Sort(more)
		f.Differs = "more than the pod says: " + strings.Join(more, " ")
	}
	return f
}

// list names capabilities, shortly.
func list(names []string, k Kernel) string {
	switch {
	case len(names) == 0:
		return "none"
	case slices.Equal(names, runtimes):
		return fmt.Sprintf("the runtime's %d", len(runtimes))
	case slices.Equal(names, k.Capabilities):
		return fmt.Sprintf("all %d of the machine", len(names))
	}
	var out []string
	// What is near what the runtime gives is said by how it differs from that.
	if missing := slices.DeleteFunc(slices.Clone(runtimes), func(n string) bool { return slices.Contains(names, n) }); len(missing) < 4 {
		out = []string{fmt.Sprintf("the runtime's %d", len(runtimes))}
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(runtimes, n) })
		if len(missing) > 0 {
			out = append(out, "without "+strings.Join(missing, " "))
		}
		if len(names) > 0 {
			names[0] = "and " + names[0]
		}
	}
	return strings.Join(append(out, names...), " ")
}

func (s saying) users(c Container) Fact {
	f := Fact{What: "users", Says: "the machine's", Kernel: "the machine's"}
	if s.ownUsers() {
		f.Says = "its own"
	}
	separate := !slices.Contains(c.Shared, "user") && own(c.Users)
	if separate {
		var parts []string
		for _, r := range c.Users {
			parts = append(parts, fmt.Sprintf("%d is %d of the machine (%d of them)", r.Inside, r.Machine, r.Count))
		}
		f.Kernel = "its own: " + strings.Join(parts, ", ")
	}
	if s.ownUsers() && !separate {
		f.Differs = "its root is the machine's root"
	}
	return f
}

func (s saying) namespaces(c Container) Fact {
	says := s.shares()
	var has []string
	for _, kind := range c.Shared {
		if kind != "user" && kind != "cgroup" {
			has = append(has, kind)
		}
	}
	f := Fact{What: "namespaces", Says: sharing(says), Kernel: sharing(has)}
	var more []string
	for _, kind := range has {
		if !slices.Contains(says, kind) {
			more = append(more, kind)
		}
	}
	switch {
	case len(more) > 0:
		f.Differs = "it is in more of the machine's than the pod says: " + strings.Join(more, " ")
	case !slices.Equal(says, has):
		f.Differs = "it is in fewer of the machine's than the pod says"
	}
	return f
}

func sharing(kinds []string) string {
	if len(kinds) == 0 {
		return "its own"
	}
	return "the machine's " + strings.Join(kinds, " ")
}

func (s saying) listens(c Container) Fact {
	var says []string
	for _, p := range s.ports {
		protocol := p.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		name := fmt.Sprintf("%d/%s", p.ContainerPort, protocol)
		if p.HostPort != 0 {
			name += fmt.Sprintf(" (%d of the machine)", p.HostPort)
		}
		says = append(says, name)
	}
	// A declared port is no more than a remark: neither is bound by it.
	return Fact{What: "listens", Says: orNothing(says), Kernel: orNothing(c.Listens)}
}

func orNothing(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

package agent

import (
	"strings"

	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/unit"
)

// label has the machine's SELinux know our files, before units make others beside them; and again whenever somebody's `restorecon`
// took the labels away. Where there is no SELinux there is nothing to do.
func (a *Agent) label(d unit.Desired) {
	s, err := selinux.Read("/")
	if err != nil {
		a.problem("look at SELinux", err)
		return
	}
	a.selinux = s
	if s.Mode == selinux.Absent {
		return
	}
	changed, err := selinux.Apply(unit.Labels(d))
	if len(changed) > 0 {
		a.log.Info("labelled", "paths", strings.Join(changed, " "))
	}
	if err != nil {
		a.problem("label files for SELinux", err)
	}
	if s.Mode == selinux.Permissive {
		a.problems = append(a.problems, s.Follows())
	}
}

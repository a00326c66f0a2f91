package contain

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// label is what the machine's security module does with it.
func (s saying) label(p Process, k Kernel) Fact {
	switch {
	case k.SELinux != Absent:
		return s.context(p, k)
	case k.AppArmor:
		return s.profile(p)
	default:
		return Fact{What: "label", Says: "-", Kernel: "no security module on this machine"}
	}
}

func (s saying) context(p Process, k Kernel) Fact {
	want := "container_t"
	o := first(s.own.SELinuxOptions, s.all.SELinuxOptions)
	switch {
	case o != nil && o.Type != "":
		want = o.Type
	case s.privileged():
		want = "spc_t"
	}
	f := Fact{What: "SELinux", Says: want, Kernel: p.Label}
	parts := strings.SplitN(p.Label, ":", 4)
	if o != nil && o.Level != "" {
		f.Says += ":" + o.Level
	}
	switch {
	case k.SELinux == Permissive:
		f.Kernel += ", permissive"
		f.Differs = "the machine logs what the policy refuses, and lets it happen"
	case len(parts) < 3 || parts[2] != want:
		f.Differs = "it is of another type than " + want
	case o != nil && o.Level != "" && (len(parts) < 4 || parts[3] != o.Level):
		f.Differs = "it has other categories than " + o.Level
	case want == "container_t" && (len(parts) < 4 || !strings.Contains(parts[3], ":c")):
		f.Differs = "it has no categories of its own: nothing keeps it from other pods' files"
	}
	return f
}

func (s saying) profile(p Process) Fact {
	f := Fact{What: "AppArmor", Says: "RuntimeDefault", Kernel: p.Label}
	if a := first(s.own.AppArmorProfile, s.all.AppArmorProfile); a != nil {
		f.Says = string(a.Type)
		if a.LocalhostProfile != nil {
			f.Says = "localhost/" + *a.LocalhostProfile
		}
	}
	if s.privileged() {
		f.Says = string(corev1.AppArmorProfileTypeUnconfined)
	}
	if f.Says != string(corev1.AppArmorProfileTypeUnconfined) && !strings.HasSuffix(p.Label, "(enforce)") {
		f.Differs = "no profile confines it"
	}
	return f
}

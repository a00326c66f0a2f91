package selinux

import (
	"regexp"
	"slices"
	"strings"
)

// Denial is what the kernel noted of an access that the policy does not allow.
type Denial struct {
	// Permissions are what was asked for, as read, open.
	Permissions []string `json:"permissions"`
	Command     string   `json:"command,omitempty"`
	Name        string   `json:"name,omitempty"` // of the file
	Source      Context  `json:"source"`
	Target      Context  `json:"target"`
	Class       string   `json:"class"`
	// Permissive: it was noted, and allowed all the same.
	Permissive bool `json:"permissive,omitempty"`
}

var (
	denied = regexp.MustCompile(`avc: +denied +\{ ([^}]*) \} for `)
	field  = regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`)
)

// Denials are those in a log of the kernel's or of auditd's.
func Denials(log string) []Denial {
	var all []Denial
	for line := range strings.SplitSeq(log, "\n") {
		m := denied.FindStringSubmatchIndex(line)
		if m == nil {
			continue
		}
		d := Denial{Permissions: strings.Fields(line[m[2]:m[3]])}
		var source, target string
		for _, f := range field.FindAllStringSubmatch(line[m[1]:], -1) {
			value := strings.Trim(f[2], `"`)
			switch f[1] {
			case "comm":
				d.Command = value
			case "name", "path":
				d.Name = value
			case "scontext":
				source = value
			case "tcontext":
				target = value
			case "tclass":
				d.Class = value
			case "permissive":
				d.Permissive = value == "1"
			}
		}
		var err, err2 error
		if d.Source, err = Parse(source); err != nil {
			continue
		}
		if d.Target, err2 = Parse(target); err2 != nil {
			continue
		}
		all = append(all, d)
	}
	return all
}

// Explains says whether the denial is that of a process with one level to a file with another.
func (d Denial) Explains(source, target Context, permission string) bool {
	return !d.Permissive && d.Source == source && d.Target.Level == target.Level && d.Target.Type == target.Type && slices.Contains(d.Permissions, permission)
}

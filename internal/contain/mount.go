package contain

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// parseMounts reads /proc/PID/mountinfo. What a later mount lies upon is left out: nobody sees it.
func parseMounts(text string) []Mount {
	var out []Mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		words, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(words) < 6 || len(rest) < 3 {
			continue
		}
		m := Mount{Device: words[2], Root: unescape(words[3]), At: unescape(words[4]), Type: rest[0]}
		m.ReadOnly = slices.Contains(strings.Split(words[5], ","), "ro") || slices.Contains(strings.Split(rest[2], ","), "ro")
		out = slices.DeleteFunc(out, func(have Mount) bool { return have.At == m.At })
		out = append(out, m)
	}
	return out
}

// unescape turns what the kernel writes as \040 back into a character.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// find returns what is mounted at a path. Images have /var/run as a link to /run, and mounts are where links lead.
func find(mounts []Mount, at string) (Mount, bool) {
	at = settle(at)
	for _, m := range mounts {
		if settle(m.At) == at {
			return m, true
		}
	}
	return Mount{}, false
}

func settle(at string) string {
	at = path.Clean("/" + at)
	if rest, ok := strings.CutPrefix(at, "/var/run"); ok && (rest == "" || rest[0] == '/') {
		return "/run" + rest
	}
	return at
}

// within says whether a path is a directory, or in it.
func within(dir, p string) bool {
	return dir == "/" || p == dir || strings.HasPrefix(p, dir+"/")
}

// placed finds the filesystem that a path of the machine is in, and where.
func placed(machine []Mount, p string) (device, root string) {
	p = path.Clean(p)
	best := ""
	for _, m := range machine {
		if within(m.At, p) && len(m.At) >= len(best) {
			best, device = m.At, m.Device
			root = path.Join(m.Root, strings.TrimPrefix(p, m.At))
		}
	}
	return device, root
}

// origin is the machine's name for what a container has mounted; empty if the machine has none.
func origin(machine []Mount, m Mount) string {
	best, name := -1, ""
	for _, has := range machine {
		if has.Device == m.Device && within(has.Root, m.Root) && len(has.Root) > best {
			best, name = len(has.Root), path.Join(has.At, strings.TrimPrefix(m.Root, has.Root))
		}
	}
	return name
}

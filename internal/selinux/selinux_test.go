package selinux

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/unit"
)

func TestParse(t *testing.T) {
	c, err := Parse("system_u:system_r:container_t:s0:c7,c3\x00\n")
	if err != nil || c != (Context{"system_u", "system_r", "container_t", "s0:c7,c3"}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if pair, ok := c.Pair(); !ok || pair != [2]int{3, 7} {
		t.Errorf("pair %v, %t", pair, ok)
	}
	if _, err := Parse("unconfined"); err == nil {
		t.Error("what AppArmor says was taken for a context")
	}
	for _, level := range []string{"s0", "s0:c1", "s0:c1,c1", "s0:c1.c5", "s0:c1,c2,c3", "s0-s0:c0.c1023", "s0:ca,cb", "s0:c-1,c2", ""} {
		if pair, ok := (Context{Level: level}).Pair(); ok {
			t.Errorf("%q has the pair %v", level, pair)
		}
	}
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want State) {
		t.Helper()
		if have, err := Read(root); err != nil || have != want {
			t.Errorf("%+v, %v; want %+v", have, err, want)
		}
	}
	expect(State{Mode: Absent})
	write("/etc/selinux/config", "# which\nSELINUX=enforcing\nSELINUXTYPE=targeted\n")
	expect(State{Mode: Absent}) // what is configured is not what is
	write("/sys/fs/selinux/enforce", "0")
	expect(State{Mode: Permissive, Policy: "targeted"})
	write("/sys/fs/selinux/enforce", "1")
	expect(State{Mode: Enforcing, Policy: "targeted"})
}

func TestChoose(t *testing.T) {
	l := unit.Label{Path: "/x", Types: []string{"fedoras_t", "debians_t"}}
	for _, c := range []struct{ known, want string }{
		{"fedoras_t debians_t", "system_u:object_r:fedoras_t:s0"},
		{"debians_t", "system_u:object_r:debians_t:s0"},
	} {
		knows := func(context string) bool {
			p, _ := Parse(context)
			return slices.Contains(strings.Fields(c.known), p.Type)
		}
		if have, err := choose(l, knows); err != nil || have != c.want {
			t.Errorf("%s: %s, %v", c.known, have, err)
		}
	}
	if _, err := choose(l, func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), "fedoras_t, debians_t") {
		t.Errorf("none is known: %v", err)
	}
}

func TestNearest(t *testing.T) {
	labels := []unit.Label{{Path: "/bin", Tree: true}, {Path: "/bin/runc"}, {Path: "/pods"}, {Path: "/pods/of", Tree: true}}
	for path, want := range map[string]string{"/bin": "/bin", "/bin/x": "/bin", "/bin/x/y": "/bin", "/bin/runc": "/bin/runc", "/bin/runc/x": "",
		"/pods": "/pods", "/pods/x": "", "/pods/of/x": "/pods/of", "/binary": "", "/": ""} {
		have := ""
		if l := nearest(labels, path); l != nil {
			have = l.Path
		}
		if have != want {
			t.Errorf("%s goes by %q, want %q", path, have, want)
		}
	}
}

func TestDenials(t *testing.T) {
	const log = `type=AVC msg=audit(1795735204.123:77): avc:  denied  { read open } for  pid=812 comm="ashlar" path="/shared/a" dev="vda" ino=5 scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:container_file_t:s0:c3,c4 tclass=file permissive=0
type=SYSCALL msg=audit(1795735204.123:77): arch=c000003e syscall=257 success=no exit=-13
type=AVC msg=audit(1795735205.123:78): avc:  granted  { setenforce } for  pid=1 scontext=a:b:c:s0 tcontext=a:b:c:s0 tclass=security
[   12.3] audit: type=1400 audit(1.1:2): avc:  denied  { getattr } for  pid=9 comm="x y" name="b" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:container_file_t:s0:c3,c4 tclass=file permissive=1
type=AVC msg=audit(1.1:3): avc:  denied  { read } for  pid=9 comm="cut off" scontext=system_u:system_r:cont
`
	all := Denials(log)
	a := Context{"system_u", "system_r", "container_t", "s0:c1,c2"}
	file := Context{"system_u", "object_r", "container_file_t", "s0:c3,c4"}
	want := []Denial{
		{Permissions: []string{"read", "open"}, Command: "ashlar", Name: "/shared/a", Source: a, Target: file, Class: "file"},
		{Permissions: []string{"getattr"}, Command: "x y", Name: "b", Source: a, Target: file, Class: "file", Permissive: true},
	}
	if !reflect.DeepEqual(all, want) {
		t.Fatalf("%+v", all)
	}
	if !all[0].Explains(a, file, "read") {
		t.Error("the denial does not explain what was denied")
	}
	other := a
	other.Level = "s0:c1,c9"
	if all[0].Explains(other, file, "read") || all[0].Explains(a, file, "write") || all[1].Explains(a, file, "getattr") {
		t.Error("a denial explains what somebody else was denied, what was not asked for, or what was allowed")
	}
}

func TestJudge(t *testing.T) {
	process := func(id, command, context string) Process {
		c, err := Parse("system_u:system_r:" + context)
		if err != nil {
			t.Fatal(err)
		}
		return Process{Container: id, Command: command, Context: c}
	}
	good := Report{State: State{Mode: Enforcing}, Processes: []Process{
		process("pause-a", "pause", "container_t:s0:c1,c2"), process("a", "web", "container_t:s0:c1,c2"), process("a2", "side", "container_t:s0:c1,c2"),
		process("b", "web", "container_t:s0:c1,c3"), process("p", "node", "spc_t:s0"), process("kin", "web", "container_t:s0:c1,c2"),
	}}
	declared := map[string]Container{"a": {Pod: "a", Name: "web"}, "a2": {Pod: "a", Name: "side"}, "b": {Pod: "b", Name: "web"},
		"p": {Pod: "p", Name: "node", Privileged: true}, "kin": {Pod: "kin", Name: "web", Level: "s0:c1,c2"}}
	for _, c := range []struct {
		name   string
		change func(r *Report, d map[string]Container)
		broken int
	}{
		{"as it must be", func(*Report, map[string]Container) {}, 0},
		{"permissive", func(r *Report, _ map[string]Container) { r.Mode = Permissive }, 1},
		{"absent", func(r *Report, _ map[string]Container) { r.Mode = Absent }, 1},
		{"two pods with one pair", func(r *Report, _ map[string]Container) { r.Processes[3].Context.Level = "s0:c2,c1" }, 1},
		{"no categories", func(r *Report, _ map[string]Container) { r.Processes[3].Context.Level = "s0" }, 1},
		{"another type", func(r *Report, _ map[string]Container) { r.Processes[3].Context.Type = "unconfined_t" }, 1},
		{"privileged undeclared", func(_ *Report, d map[string]Container) { d["p"] = Container{Pod: "p", Name: "node"} }, 1},
		{"declared privileged, and is not", func(_ *Report, d map[string]Container) { d["b"] = Container{Pod: "b", Name: "web", Privileged: true} }, 1},
		{"privileged, of nobody", func(_ *Report, d map[string]Container) { delete(d, "p") }, 1},
		{"another level than it asked for", func(r *Report, _ map[string]Container) { r.Processes[5].Context.Level = "s0:c8,c9" }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good
			r.Processes = slices.Clone(good.Processes)
			d := map[string]Container{}
			for id, one := range declared {
				d[id] = one
			}
			c.change(&r, d)
			broken := 0
			for _, f := range Judge(r, d) {
				if !f.Held {
					broken++
				}
			}
			if broken != c.broken {
				t.Errorf("%d findings do not hold, want %d: %+v", broken, c.broken, Judge(r, d))
			}
		})
	}
}

func TestContainerOf(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for groups, want := range map[string]string{
		"0::/kubepods/burstable/pod1/" + id:                                      id,
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope": id,
		"0::/kubepods.slice/kubepods-pod1.slice:cri-containerd:" + id:            id,
		"12:pids:/ashlar/w/kubepods/pod1/" + id + "\n1:name=systemd:/":           id,
		"0::/system.slice/ashlar.service":                                        "",
		"0::/system.slice/docker-" + id[:12] + ".scope":                          "",
	} {
		if have := containerOf(groups); have != want {
			t.Errorf("%s: %q", groups, have)
		}
	}
}

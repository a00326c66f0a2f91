package unit_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// TestDigest changes one thing of a unit at a time: a restart follows from what the process runs by, and only from that.
func TestDigest(t *testing.T) {
	all := unit.For(on(small, "control-plane-0"))
	u, _ := find(all, "kube-apiserver")
	for name, change := range map[string]func(*unit.Unit){
		"certificates": func(u *unit.Unit) { u.Certificates = u.Certificates[1:] },
		"wait":         func(u *unit.Unit) { u.Wait = append(slices.Clone(u.Wait), unit.Probe{URL: "tcp://127.0.0.1:1"}) },
		"after":        func(u *unit.Unit) { u.After = nil },
		"ready":        func(u *unit.Unit) { u.Ready.URL += "?verbose" },
		"grace":        func(u *unit.Unit) { u.Grace += time.Second },
		"live file":    func(u *unit.Unit) { u.Files[3].Content += "#" },
	} {
		changed := clone(u)
		change(&changed)
		if changed.Digest() != u.Digest() {
			t.Errorf("%s restarts the unit", name)
		}
	}
	for name, change := range map[string]func(*unit.Unit){
		"argument":            func(u *unit.Unit) { u.Args[3] += "0" },
		"argument more":       func(u *unit.Unit) { u.Args = append(u.Args, "--v=1") },
		"arguments' order":    func(u *unit.Unit) { u.Args[1], u.Args[2] = u.Args[2], u.Args[1] },
		"environment":         func(u *unit.Unit) { u.Env = append(u.Env, "A=b") },
		"content of a file":   func(u *unit.Unit) { u.Files[5].Content += "#" },
		"mode of a file":      func(u *unit.Unit) { u.Files[3].Mode = 0o644 },
		"path of a file":      func(u *unit.Unit) { u.Files[3].Path += "~" },
		"no longer live":      func(u *unit.Unit) { u.Files[3].Live = false },
		"file fewer":          func(u *unit.Unit) { u.Files = u.Files[1:] },
		"secret":              func(u *unit.Unit) { u.Secrets[0].Field = "other" },
		"once":                func(u *unit.Unit) { u.Once = true },
		"trust in another CA": func(u *unit.Unit) { u.Files[0].Content += u.Files[1].Content },
	} {
		changed := clone(u)
		change(&changed)
		if changed.Digest() == u.Digest() {
			t.Errorf("%s: nothing restarts", name)
		}
	}
}

// clone shares nothing that a test changes.
func clone(u unit.Unit) unit.Unit {
	u.Args, u.Env, u.Files, u.Secrets = slices.Clone(u.Args), slices.Clone(u.Env), slices.Clone(u.Files), slices.Clone(u.Secrets)
	return u
}

// TestGrowth: a worker or control-plane machine more is known to those who must know it, and restarts nothing else.
func TestGrowth(t *testing.T) {
	mayChange := map[v1alpha1.Role][]string{
		v1alpha1.RoleWorker:       {"etcd-overlay-auth"}, // runs once, and again when who may write changes
		v1alpha1.RoleControlPlane: {"haproxy"},
	}
	rapid.Check(t, func(t *rapid.T) {
		d := drawCluster(t)
		role := rapid.SampledFrom(slices.Sorted(maps.Keys(mayChange))).Draw(t, "role")
		grown := d
		last := d.Machines[0].Address
		for _, m := range d.Machines {
			if last.Less(m.Address) {
				last = m.Address
			}
		}
		place := rapid.IntRange(0, len(d.Machines)).Draw(t, "place")
		grown.Machines = slices.Insert(slices.Clone(d.Machines), place, unit.Machine{Name: "one-more", Role: role, Address: last.Next()})
		changed := map[string]bool{}
		for _, m := range d.Machines {
			after := unit.For(on(grown, m.Name))
			for _, u := range unit.For(on(d, m.Name)) {
				if now, ok := find(after, u.Name); !ok || now.Digest() != u.Digest() {
					changed[u.Name] = true
				}
			}
		}
		if got := slices.Sorted(maps.Keys(changed)); fmt.Sprint(got) != fmt.Sprint(mayChange[role]) {
			t.Errorf("one %s more changes %v", role, got)
		}
	})
}

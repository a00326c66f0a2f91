package unit_test

import (
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/unit"
)

// recommendation is one of the CIS Kubernetes Benchmark (numbered as in version 1.12) that flags and files can show.
type recommendation struct {
	id, what string
	process  string // the program that it is about, or the name of the unit
	// instead says why, and how, Ashlar does what is meant in another way; met then checks that it does.
	instead string
	met     check
	broken  change // after which met must fail
}

type (
	check  func(unit.Unit) error
	change func(unit.Unit) unit.Unit
)

// TestCIS tries every recommendation on every such process of both clusters, and then on one that breaks it.
func TestCIS(t *testing.T) {
	for _, r := range recommendations {
		t.Run(r.id, func(t *testing.T) {
			units := running(r.process)
			if len(units) == 0 {
				t.Fatalf("no machine runs %s", r.process)
			}
			for where, u := range units {
				if err := r.met(u); err != nil {
					t.Errorf("%s: %s, says CIS %s (%s): %v", where, u.Name, r.id, r.what, err)
					continue
				}
				broken := r.broken(clone(u))
				if reflect.DeepEqual(broken, u) {
					t.Errorf("%s: %s: the change that should break CIS %s changes nothing", where, u.Name, r.id)
				} else if r.met(broken) == nil {
					t.Errorf("%s: %s: CIS %s (%s) was broken, and nobody noticed", where, u.Name, r.id, r.what)
				}
			}
			if r.instead != "" {
				t.Logf("%s: %s", r.what, r.instead)
			}
		})
	}
}

// TestCISIsWhole: of these sections no recommendation is left out, and none is there twice.
func TestCISIsWhole(t *testing.T) {
	var got []string
	for _, r := range recommendations {
		got = append(got, r.id)
	}
	for _, s := range []struct {
		section string
		last    int
	}{{"1.2", 30}, {"1.3", 7}, {"1.4", 2}, {"2", 7}, {"4.2", 14}} {
		for i := 1; i <= s.last; i++ {
			id := fmt.Sprintf("%s.%d", s.section, i)
			n := 0
			for _, g := range got {
				if g == id {
					n++
				}
			}
			if n != 1 {
				t.Errorf("CIS %s is there %d times", id, n)
			}
		}
	}
}

// running returns the units of a program, or of a name, by cluster and machine.
func running(process string) map[string]unit.Unit {
	out := map[string]unit.Unit{}
	for _, d := range []unit.Desired{small, ha} {
		for _, m := range d.Machines {
			for _, u := range unit.For(on(d, m.Name)) {
				if u.Name == process || len(u.Args) > 0 && path.Base(u.Args[0]) == process {
					out[d.Cluster+"/"+m.Name+"/"+u.Name] = u
				}
			}
		}
	}
	return out
}

func argument(u unit.Unit, name string) (value string, set bool) {
	for _, a := range u.Args[min(1, len(u.Args)):] {
		if n, v, _ := strings.Cut(a, "="); n == name {
			value, set = v, true // the last one counts
		}
	}
	return value, set
}

func file(u unit.Unit, name string) unit.File {
	if i := slices.IndexFunc(u.Files, func(f unit.File) bool { return f.Path == name }); i >= 0 {
		return u.Files[i]
	}
	return unit.File{}
}

func all(checks ...check) check {
	return func(u unit.Unit) error {
		for _, c := range checks {
			if err := c(u); err != nil {
				return err
			}
		}
		return nil
	}
}

// value checks that a flag is set, and to something that is right.
func value(flag, want string, right func(string) bool) check {
	return func(u unit.Unit) error {
		if v, set := argument(u, flag); !set || !right(v) {
			return fmt.Errorf("%s is %q (set: %t) and must be %s", flag, v, set, want)
		}
		return nil
	}
}

func is(flag, want string) check {
	return value(flag, want, func(v string) bool { return v == want })
}

func set(flags ...string) check {
	var checks []check
	for _, f := range flags {
		checks = append(checks, value(f, "set", func(v string) bool { return v != "" }))
	}
	return all(checks...)
}

func unset(flags ...string) check {
	return func(u unit.Unit) error {
		for _, f := range flags {
			if v, isSet := argument(u, f); isSet {
				return fmt.Errorf("%s is %q and must not be set", f, v)
			}
		}
		return nil
	}
}

func unsetOr(flag string, otherwise check) check {
	return func(u unit.Unit) error {
		if unset(flag)(u) == nil {
			return nil
		}
		return otherwise(u)
	}
}

func atLeast(flag string, n int) check {
	return value(flag, fmt.Sprintf("at least %d", n), func(v string) bool {
		i, err := strconv.Atoi(v)
		return err == nil && i >= n
	})
}

func includes(flag, item string) check {
	return value(flag, "with "+item, func(v string) bool { return slices.Contains(strings.Split(v, ","), item) })
}

func excludes(flag, item string) check {
	return value(flag, "without "+item, func(v string) bool { return !slices.Contains(strings.Split(v, ","), item) })
}

// issued holds when these flags name certificates and keys that the agent gets for the unit, and renews.
func issued(flags ...string) check {
	return func(u unit.Unit) error {
		for _, f := range flags {
			v, _ := argument(u, f)
			if !renewed(u, v) {
				return fmt.Errorf("%s is %q, which is no certificate or key of the unit", f, v)
			}
		}
		return nil
	}
}

func renewed(u unit.Unit, file string) bool {
	return slices.ContainsFunc(u.Certificates, func(c unit.Certificate) bool {
		return file == c.Profile.CertFile() || file == c.Profile.KeyFile()
	})
}

// setting checks a field, such as a.b, of a YAML file of the unit, and that no flag of the same meaning overrides it.
func setting(name, field, flag, want string, right func(any) bool) check {
	return all(unset(flag), func(u unit.Unit) error {
		var at any
		if err := decode(file(u, name), &at); err != nil {
			return err
		}
		for key := range strings.SplitSeq(field, ".") {
			m, _ := at.(map[string]any)
			at = m[key]
		}
		if !right(at) {
			return fmt.Errorf("%s of %s is %v and must be %s", field, name, at, want)
		}
		return nil
	})
}

func mode(name string, atMost fs.FileMode) check {
	return func(u unit.Unit) error {
		if f := file(u, name); f.Path == "" || f.Mode&^atMost != 0 {
			return fmt.Errorf("%s has mode %04o and may have %04o", name, f.Mode, atMost)
		}
		return nil
	}
}

// with sets a flag to another value.
func with(flag, to string) change {
	return func(u unit.Unit) unit.Unit {
		u = without(flag)(u)
		u.Args = append(u.Args, flag+"="+to)
		return u
	}
}

func without(flag string) change {
	return func(u unit.Unit) unit.Unit {
		u.Args = slices.DeleteFunc(u.Args, func(a string) bool { return a == flag || strings.HasPrefix(a, flag+"=") })
		return u
	}
}

// edited replaces text in a file.
func edited(name, from, to string) change {
	return func(u unit.Unit) unit.Unit {
		for i, f := range u.Files {
			if f.Path == name {
				u.Files[i].Content = strings.ReplaceAll(f.Content, from, to)
			}
		}
		return u
	}
}

func loosened(name string) change {
	return func(u unit.Unit) unit.Unit {
		for i, f := range u.Files {
			if f.Path == name {
				u.Files[i].Mode |= 0o066
			}
		}
		return u
	}
}

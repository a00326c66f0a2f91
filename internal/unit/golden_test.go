package unit_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/internal/unit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden shows whoever reviews a change what it changes on machines: of the small cluster, one of each role;
// of the second, the last of each role; of the third, those that sshd makes a difference to.
func TestGolden(t *testing.T) {
	for d, shown := range map[*unit.Desired][]string{
		&small: {"vault-0", "etcd-0", "lb-0", "control-plane-0", "worker-0"},
		&ha:    {"vault-2", "etcd-2", "lb-0", "control-plane-1", "worker-2", "public-lb-0"},
		&ssh:   {"bastion-0", "lb-0"},
	} {
		for _, machine := range shown {
			t.Run(d.Cluster+"/"+machine, func(t *testing.T) {
				got := render(unit.For(on(*d, machine)))
				golden := filepath.Join("testdata", d.Cluster, machine+".golden")
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("differs from %s (go test ./internal/unit -update, and review):\n%s", golden, diff)
				}
			})
		}
	}
}

// render writes units for people: a line for each thing that can change.
func render(units []unit.Unit) string {
	var b strings.Builder
	for _, u := range units {
		fmt.Fprintf(&b, "unit %s\n", u.Name)
		section := func(title string, lines ...string) {
			if len(lines) > 0 {
				fmt.Fprintf(&b, "  %s\n    %s\n", title, strings.Join(lines, "\n    "))
			}
		}
		section("args", u.Args...)
		section("env", u.Env...)
		section("certificates", each(u.Certificates, certificate)...)
		if u.HostKey != "" {
			section("host key", u.HostKey)
		}
		section("secrets", each(u.Secrets, func(s unit.Secret) string {
			return fmt.Sprintf("%s of %s in %s", s.Field, s.Document, s.Path)
		})...)
		section("after", u.After...)
		section("wait", each(u.Wait, probe)...)
		if u.Ready != (unit.Probe{}) {
			section("ready", probe(u.Ready))
		}
		if u.OOMScore != 0 {
			section("oom score", fmt.Sprint(u.OOMScore))
		}
		if u.Once {
			section("once", "true")
		}
		if u.ReloadSignal != 0 {
			section("reload signal", syscall.Signal(u.ReloadSignal).String())
		}
		if u.Grace != 0 {
			section("grace", u.Grace.String())
		}
		for _, f := range u.Files {
			title := fmt.Sprintf("file %s %04o", f.Path, f.Mode)
			if f.Content == "" {
				title += " (empty)"
			}
			if !utf8.ValidString(f.Content) {
				f.Content = fmt.Sprintf("%x", f.Content)
			}
			fmt.Fprintf(&b, "  %s\n", title)
			for line := range strings.Lines(f.Content) {
				fmt.Fprintf(&b, "    | %s", line)
			}
			if f.Content != "" && !strings.HasSuffix(f.Content, "\n") {
				b.WriteString(" (no newline)\n")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func each[T any](in []T, show func(T) string) (out []string) {
	for _, x := range in {
		out = append(out, show(x))
	}
	return out
}

func probe(p unit.Probe) string {
	if p.CA == "" {
		return p.URL
	}
	return fmt.Sprintf("%s with a certificate of %s", p.URL, p.CA)
}

func certificate(c unit.Certificate) string {
	p := c.Profile
	words := []string{fmt.Sprintf("%s/%s: CN=%s", p.CA, p.Name, p.CommonName)}
	for _, o := range p.Organizations {
		words = append(words, "O="+o)
	}
	for _, san := range slices.Concat(p.DNSNames, c.IPs) {
		words = append(words, "SAN="+san)
	}
	if p.Server {
		words = append(words, "server")
	}
	if p.Client {
		words = append(words, "client")
	}
	return strings.Join(words, " ")
}

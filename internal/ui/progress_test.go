package ui

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// timeless is what progress wrote, without the times: they are as wide as ever.
func timeless(s string) string {
	return regexp.MustCompile(`[0-9]\.[0-9]{2}s`).ReplaceAllString(s, "#.##s")
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out)
	p.Begin("preflight")
	p.End(nil)
	p.Begin("units")
	p.Detail("waiting for %s", "worker-0")
	p.Detail("%d machines", 6)
	p.End(nil)
	p.Begin("control-planes") // as long as the column
	p.End(errors.New("is said elsewhere"))
	p.Done("cluster %s is as %s says", "demo", "cluster.yaml")
	want := `✓ preflight        #.##s
✓ units            #.##s  6 machines
✗ control-planes   #.##s
✓ done             #.##s  cluster demo is as cluster.yaml says
`
	if diff := cmp.Diff(want, timeless(out.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProgressOfParts(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "short", "authn-serviceaccount")
	p.Begin("verify")
	p.Step(true, "short", 1250*time.Millisecond, "")
	p.Step(false, "authn-serviceaccount", 61*time.Second, "a token\nwas accepted")
	p.Detail("1 of 2 claims hold")
	p.End(nil)
	want := `✓ short                  1.25s
✗ authn-serviceaccount  61.00s  a token was accepted
✓ verify                 #.##s  1 of 2 claims hold
`
	lines := strings.SplitAfter(out.String(), "\n")
	lines[2] = timeless(lines[2])
	if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Parts end at the same time: each has its line to itself.
func TestProgressOfPartsAtOnce(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out)
	p.Begin("verify")
	var parts sync.WaitGroup
	for range 50 {
		parts.Go(func() { p.Step(true, "part", time.Second, "") })
	}
	parts.Wait()
	p.End(nil)
	want := strings.Repeat("✓ part             #.##s\n", 50) + "✓ verify           #.##s\n"
	if diff := cmp.Diff(want, timeless(out.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTimings(t *testing.T) {
	p := NewProgress(&strings.Builder{})
	for _, name := range []string{"first", "second"} {
		p.Begin(name)
		p.Step(true, "a part is no phase", time.Hour, "")
		p.End(nil)
	}
	got := p.Timings()
	if len(got) != 2 || got[0].Phase != "first" || got[1].Phase != "second" {
		t.Fatalf("got %+v", got)
	}
	for _, timing := range got {
		if timing.Seconds != timing.Took.Seconds() || timing.Took > time.Minute {
			t.Errorf("got %+v", timing)
		}
	}
	got[0].Phase = "changed"
	if p.Timings()[0].Phase != "first" {
		t.Error("the timings are not the caller's own")
	}
}

// Command bench measures a cluster's life on this host and prints it as JSON: medians, with the least and the most.
// ASHLAR names the binary, as `make bench` does.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const timeout = 5 * time.Minute

// name is the cluster's; ASHLAR_NAME chooses another.
var name = cmp.Or(os.Getenv("ASHLAR_NAME"), "bench")

const cluster = `apiVersion: ashlar.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  provider: {local: {}}
  pools:
  - {name: control-plane, role: control-plane, count: 1}
  - {name: worker, role: worker, count: 2}
`

// spread is what several runs came to.
type spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// report is what is printed. Times are seconds, memory is MiB.
type report struct {
	Runs   int               `json:"runs"`
	Up     spread            `json:"upSeconds"`
	Phases map[string]spread `json:"upSecondsByPhase"`
	Again  spread            `json:"secondUpSeconds"`
	Verify spread            `json:"verifySeconds"`
	Rotate map[string]spread `json:"rotateSecondsByTarget"` // without waiting for pods and people
	Down   spread            `json:"downSeconds"`
	RSS    map[string]spread `json:"rssMiBByProcess"`
	PSS    spread            `json:"pssMiB"`
	// Renewal is of all certificates of all machines at once.
	Renewal spread `json:"renewalSeconds"`
	// Requests are medians of a small request to the API: while nothing is revoked, while much is, and the difference.
	Requests map[string]spread `json:"requestMillisecondsByRevocation"`
	// Admission is of making a pod, by its class: with the policies about classes, without them, and the difference.
	Admission map[string]spread `json:"podMillisecondsByAdmission"`
}

func main() {
	runs := flag.Int("n", 3, "how many runs")
	part := flag.String("part", "", `"revocation", "admission" or "network": that alone`)
	options := networkFlags()
	flag.Parse()
	run := func() error { return bench(*runs, *part) }
	if *part == "network" {
		run = func() error { return network(*options) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(runs int, part string) error {
	dir, err := os.MkdirTemp("", "ashlar-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, cluster, name), 0o600); err != nil {
		return err
	}
	defer func() { _, _, _ = ashlar(file, "down") }()
	samples := map[string][]float64{}
	for range runs {
		if err := once(file, part, func(what string, value float64) { samples[what] = append(samples[what], value) }); err != nil {
			return err
		}
	}
	r := report{Runs: runs, Phases: map[string]spread{}, RSS: map[string]spread{}, Rotate: map[string]spread{}, Requests: map[string]spread{}, Admission: map[string]spread{}}
	for what, s := range samples {
		kind, of, _ := strings.Cut(what, "/")
		switch kind {
		case "phase":
			r.Phases[of] = spreadOf(s)
		case "rotate":
			r.Rotate[of] = spreadOf(s)
		case "rss":
			r.RSS[of] = spreadOf(s)
		case "admission":
			r.Admission[of] = spreadOf(s)
		case "request":
			r.Requests[of] = spreadOf(s)
		}
	}
	r.Up, r.Again, r.Verify = spreadOf(samples["up"]), spreadOf(samples["again"]), spreadOf(samples["verify"])
	r.Down, r.PSS, r.Renewal = spreadOf(samples["down"]), spreadOf(samples["pss"]), spreadOf(samples["renewal"])
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// once takes a cluster from nothing to nothing.
func once(file, part string, sample func(string, float64)) error {
	syscall.Sync() // an earlier build's writes are not the cluster's
	out, took, err := ashlar(file, "up", "-o", "json")
	if err != nil {
		return err
	}
	sample("up", took)
	if measure := map[string]func(string, func(string, float64)) error{"revocation": revocation, "admission": admission}[part]; measure != nil {
		err := measure(file, sample)
		_, _, problem := ashlar(file, "down")
		return errors.Join(err, problem)
	}
	var up struct {
		Timings []struct {
			Phase   string
			Seconds float64
		}
	}
	if err := json.Unmarshal(out, &up); err != nil {
		return fmt.Errorf("read what up answered: %w", err)
	}
	for _, t := range up.Timings {
		sample("phase/"+t.Phase, t.Seconds)
	}
	if _, took, err = ashlar(file, "up"); err != nil {
		return err
	}
	sample("again", took)
	if err := memory(sample); err != nil {
		return err
	}
	if err := revocation(file, sample); err != nil {
		return err
	}
	if err := admission(file, sample); err != nil {
		return err
	}
	if err := renewal(file, sample); err != nil {
		return err
	}
	if _, took, err = ashlar(file, "verify", "-o", "json"); err != nil {
		return err
	}
	sample("verify", took)
	for _, target := range []string{"vault-tls", "etcd-k8s", "etcd-overlay", "front-proxy", "kubernetes", "serviceaccount-key"} {
		if _, took, err = ashlar(file, "pki", "rotate", target, "--now"); err != nil {
			return err
		}
		sample("rotate/"+target, took)
	}
	if _, took, err = ashlar(file, "down"); err != nil {
		return err
	}
	sample("down", took)
	return nil
}

func ashlar(file string, args ...string) ([]byte, float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("ASHLAR"), append([]string{"-f", file}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return out.Bytes(), 0, fmt.Errorf("ashlar %v: %w\n%s", args, err, problems.Bytes())
	}
	return out.Bytes(), time.Since(began).Seconds(), nil
}

// memory sums up the resident memory of the cluster's processes by name. Shared pages count for each of them in RSS, and
// once in PSS.
func memory(sample func(string, float64)) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	rss, pss := map[string]float64{}, 0.0
	for _, p := range processes {
		groups, err := os.ReadFile(p + "/cgroup")
		if err != nil || !bytes.Contains(groups, []byte("/ashlar/"+name+"/")) {
			continue
		}
		command, err := os.ReadFile(p + "/comm")
		if err != nil {
			continue // it has ended
		}
		rollup, err := os.ReadFile(p + "/smaps_rollup")
		if err != nil {
			continue
		}
		rss[strings.TrimSpace(string(command))] += field(rollup, "Rss:")
		pss += field(rollup, "Pss:")
	}
	total := 0.0
	for command, mib := range rss {
		sample("rss/"+command, mib)
		total += mib
	}
	sample("rss/all", total)
	sample("pss", pss)
	return nil
}

// field reads a line of smaps_rollup, in MiB.
func field(rollup []byte, name string) float64 {
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}

func spreadOf(s []float64) spread {
	if len(s) == 0 {
		return spread{}
	}
	s = slices.Sorted(slices.Values(s))
	return spread{Median: s[len(s)/2], Least: s[0], Most: s[len(s)-1]}
}

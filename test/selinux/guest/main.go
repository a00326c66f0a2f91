package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// check is one thing that is tried. Those of a file of their own append themselves to checks.
type check struct {
	name string
	try  func(context.Context, *machine) error
}

// machine is what the checks share.
type machine struct {
	runtime
	pods map[string]pod
}

// main writes a line for each check to the file it is given, the second serial port, where nobody else writes. The last line is
// there only if all came to their end.
func main() {
	out, err := os.OpenFile(os.Args[1], os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	r, err := dial()
	if err != nil {
		fmt.Fprintln(out, "FAIL dial:", err)
		return
	}
	m := &machine{runtime: r, pods: map[string]pod{}}
	passed := 0
	for _, c := range checks {
		began := time.Now()
		err := c.try(ctx, m)
		if err != nil {
			fmt.Fprintf(out, "FAIL\t%s\t%.1f\t%s\n", c.name, time.Since(began).Seconds(), strings.ReplaceAll(err.Error(), "\n", " | "))
			continue
		}
		passed++
		fmt.Fprintf(out, "ok\t%s\t%.1f\t\n", c.name, time.Since(began).Seconds())
	}
	if passed < len(checks) {
		explain(out)
	}
	fmt.Fprintf(out, "done\t%d of %d\n", passed, len(checks))
}

// explain has what somebody needs who wants to know why.
func explain(out io.Writer) {
	for _, command := range []string{"tail -n 20 /var/log/ashlar/*.log", "journalctl --no-pager -n 40 -u ashlar", "cat /var/log/audit/audit.log | grep denied | tail -n 60", "ps -eZ", "ls -lZ /opt/ashlar /opt/ashlar/bundle/bin /etc/ashlar /run/ashlar /run/containerd"} {
		b, err := exec.Command("sh", "-c", command).CombinedOutput()
		fmt.Fprintf(out, "# %s: %v\n", command, err)
		for line := range strings.SplitSeq(string(b), "\n") {
			fmt.Fprintln(out, "#", line)
		}
	}
}

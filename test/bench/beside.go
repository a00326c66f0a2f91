package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// besidePort is where the second API server listens, on the first's machine.
const besidePort = unit.PortAPIServer + 1000

// besidePID is where it leaves its process.
const besidePID = "/run/ashlar-bench.pid"

// servers are two API servers on one machine, asked from there: the cluster's own, and one beside it that goes by what was revoked
// when it began.
type servers struct{ own, beside *rest.Config }

// startBeside starts another API server as the cluster's own runs, and returns what ends it.
func startBeside(ctx context.Context, t *claim.Target) (servers, func(), error) {
	m := t.Desired.WithRole("control-plane")[0]
	in := func(ctx context.Context, args ...string) ([]byte, error) {
		var out, said bytes.Buffer
		err := t.Provider.Exec(ctx, m.Name, provider.Exec{Args: args, Stdout: &out, Stderr: &said})
		if err != nil {
			err = fmt.Errorf("%v on %s: %w: %s", args[0], m.Name, err, bytes.TrimSpace(said.Bytes()))
		}
		return out.Bytes(), err
	}
	line, err := in(ctx, "sh", "-c", `cp /etc/kubernetes/authorization.yaml /run/ashlar-bench.yaml
cat /proc/$(grep -o '"pid":[0-9]*' /run/ashlar/units/kube-apiserver.json | cut -d: -f2)/cmdline`)
	if err != nil {
		return servers{}, nil, err
	}
	run := append([]string{"sh", "-c", "echo $$ > " + besidePID + `; exec "$@"`, "sh"}, strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")...)
	run = append(run, fmt.Sprintf("--secure-port=%d", besidePort), "--authorization-config=/run/ashlar-bench.yaml",
		"--audit-log-path=/var/log/kubernetes/bench.log", "--endpoint-reconciler-type=none", "--shutdown-delay-duration=0s")
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := context.WithCancelCause(ctx)
	go func() {
		_, err := in(life, run...)
		ended(fmt.Errorf("the API server beside ended: %w", err))
	}()
	stop := func() {
		_, _ = in(life, "sh", "-c", "kill -9 $(cat "+besidePID+"); rm -f "+besidePID+" /run/ashlar-bench.yaml /var/log/kubernetes/bench.log") // the cluster goes anyway
		end()
	}
	at := func(port int) *rest.Config {
		c := rest.CopyConfig(t.Admin)
		address := net.JoinHostPort(m.Address.String(), strconv.Itoa(port))
		c.Host = "https://" + address
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return t.Provider.Dial(ctx, m.Name, network, address)
		}
		return c
	}
	both := servers{at(unit.PortAPIServer), at(besidePort)}
	if err := await(ready, both.beside, http.StatusOK); err != nil {
		stop()
		return both, nil, errors.Join(err, context.Cause(ready))
	}
	return both, stop, nil
}

// pairs are requests to both servers, in milliseconds.
type pairs struct{ own, difference []float64 }

// measure asks both servers for something small, again and again, each time another of them first.
func (p *pairs) measure(ctx context.Context, both servers) error {
	var clients [2]*http.Client
	hosts := [2]string{both.own.Host, both.beside.Host}
	for i, config := range []*rest.Config{both.own, both.beside} {
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		clients[i] = client
	}
	for n := range pairsMeasured {
		var took [2]float64
		first := rand.IntN(2)
		for _, i := range []int{first, 1 - first} {
			began := time.Now()
			status, err := get(ctx, clients[i], hosts[i])
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("a request to measure: %d, %w", status, err)
			}
			took[i] = float64(time.Since(began).Nanoseconds()) / 1e6
		}
		if n > 0 { // the first one connects
			p.own, p.difference = append(p.own, took[0]), append(p.difference, took[0]-took[1])
		}
	}
	return nil
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

package observe

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/network"
)

// TestServe talks with a process's part over pipes: a port that somebody listens on, one that is closed, by TCP and by UDP.
func TestServe(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	mute, err := net.ListenPacket("udp", "127.0.0.1:0") // it hears, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	at := func(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }
	plan := Plan{Timeout: 300 * time.Millisecond, Attempts: []Attempt{
		{To: at(open.Addr()), Protocol: "TCP"}, {To: at(gone.Addr()), Protocol: "TCP"},
		{To: at(mute.LocalAddr()), Protocol: "UDP"}, {To: at(gone.Addr()), Protocol: "UDP"},
		{To: netip.MustParseAddrPort("255.255.255.255:1"), Protocol: "TCP"}}}
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), in, out) }()
	say, hear := json.NewEncoder(toIn), json.NewDecoder(fromOut)
	ask := func(what, answer any) {
		t.Helper()
		if err := say.Encode(what); err != nil {
			t.Fatal(err)
		}
		if err := hear.Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
	var ready string
	var outcomes []Outcome
	var heard []string
	ask(plan, &ready)
	ask("go", &outcomes)
	ask("end", &heard)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var states []State
	for _, o := range outcomes {
		states = append(states, o.State)
	}
	if want := []State{Reached, Reached, Silent, Reached, Refused}; !slices.Equal(states, want) || ready != "ready" || len(heard) != 0 {
		t.Errorf("%q, %v, want %v; heard %q", ready, outcomes, want, heard)
	}
	packet := make([]byte, 512)
	n, _, err := mute.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	if token, ok := tokenIn(packet[:n]); !ok || token != outcomes[2].Token {
		t.Errorf("what came in has the token %q, sent was %q", token, outcomes[2].Token)
	}
}

// TestListen hears what nobody listens for, in a network namespace of its own.
func TestListen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	here := netip.MustParseAddr("127.0.0.1")
	e, err := spaces{}.listen([]netip.Addr{{}}) // this very one
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := spaces{}.try(t.Context(), Plan{Timeout: 200 * time.Millisecond, Attempts: []Attempt{
		{To: netip.AddrPortFrom(here, 9), Protocol: "UDP"}, {To: netip.AddrPortFrom(here, 10), Protocol: "UDP"},
		{To: netip.AddrPortFrom(here, 9), Protocol: "SCTP"}}})
	if err != nil {
		t.Fatal(err)
	}
	heard := e.heard()
	for _, o := range outcomes {
		if !slices.Contains(heard, o.Token) {
			t.Errorf("%s was not heard: %q", o.Token, heard)
		}
	}
	if _, err := (spaces{}).listen([]netip.Addr{here}); err == nil {
		t.Error("there is an ear in a pod that does not exist")
	}
}

func TestToken(t *testing.T) {
	token := newToken()
	if got, ok := tokenIn(question(token)); !ok || got != token {
		t.Errorf("%q, want %q", got, token)
	}
	for _, packet := range [][]byte{nil, []byte("nothing"), []byte(mark), bytes.Repeat([]byte(mark), 2)} {
		if got, ok := tokenIn(packet); ok {
			t.Errorf("%q has a token: %q", packet, got)
		}
	}
}

func TestJudge(t *testing.T) {
	pod, host, outside := network.Peer{Namespace: "a", Name: "b", Machine: "w"}, network.Peer{Machine: "w"}, network.Peer{}
	tcp, udp := network.Port{Protocol: "TCP", Number: 1}, network.Port{Protocol: "UDP", Number: 1}
	for _, c := range []struct {
		name      string
		to        network.Peer
		port      network.Port
		service   string
		simulated network.Reach
		state     State
		want      network.Reach
	}{
		{"an answer", pod, tcp, "", network.No, Reached, network.Yes},
		{"an answer from outside", outside, tcp, "", network.No, Reached, network.Yes},
		{"silence of a pod that must be reached", pod, tcp, "", network.Yes, Silent, network.No},
		{"silence of a pod, where it is listened", pod, udp, "", network.Yes, Silent, network.No},
		{"silence behind a Service", pod, udp, "a/s", network.Yes, Silent, network.Unknown},
		{"silence of a machine's program", host, udp, "", network.Yes, Silent, network.Unknown},
		{"silence outside", outside, tcp, "", network.Yes, Silent, network.Unknown},
		{"silence outside, as it must be", outside, tcp, "", network.No, Silent, network.No},
		{"nobody outside", outside, tcp, "", network.Yes, Refused, network.Unknown},
		{"a refusal on the way", host, tcp, "", network.Yes, Refused, network.No},
	} {
		got := judge(&network.Connection{To: c.to, Port: c.port, Service: c.service}, c.simulated, Outcome{State: c.state})
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

package unit

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// PublicService is a port of the public load balancer, and who serves it.
type PublicService struct {
	Name      string           `json:"name"`
	Port      int              `json:"port"`
	Plaintext bool             `json:"plaintext,omitempty"`
	Upstreams []netip.AddrPort `json:"upstreams"`
}

// publicLB is the public load balancer. TLS passes through unopened, to whoever of a service's machines takes connections;
// what does not begin with TLS is refused, unless it was declared.
func publicLB(d Desired) []Unit {
	if len(d.PublicServices) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`global
  maxconn 4000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  retries 3
  option redispatch 1
`)
	for _, s := range d.PublicServices {
		fmt.Fprintf(&b, "frontend %s\n  bind %s:%d\n", s.Name, d.Me().Address, s.Port)
		if !s.Plaintext {
			b.WriteString("  tcp-request inspect-delay 5s\n  tcp-request content accept if { req_ssl_hello_type 1 }\n  tcp-request content reject\n")
		}
		fmt.Fprintf(&b, "  default_backend %[1]s\nbackend %[1]s\n  balance leastconn\n  default-server check inter 2s fastinter 500ms rise 1 fall 2\n", s.Name)
		for i, to := range s.Upstreams {
			fmt.Fprintf(&b, "  server %s-%d %s\n", s.Name, i, to)
		}
	}
	first := d.PublicServices[0]
	return []Unit{{
		Name:         "haproxy",
		Args:         []string{"/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"},
		Files:        []File{{Path: "/etc/haproxy/haproxy.cfg", Mode: 0o644, Content: b.String()}},
		Ready:        Probe{URL: fmt.Sprintf("tcp://%s:%d", d.Me().Address, first.Port)},
		ReloadSignal: int(syscall.SIGUSR2),
		Grace:        5 * time.Second,
	}}
}

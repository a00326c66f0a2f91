package unit

import (
	"fmt"
	"net/netip"
	"strings"
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
	b.WriteString(haproxyDefaults)
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
	return []Unit{haproxyUnit(d, b.String(), d.PublicServices[0].Port)}
}

package unit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// PublicService is a port of the public load balancer, and who serves it.
type PublicService struct {
	Name      string           `json:"name"`
	Port      int              `json:"port"`
	Plaintext bool             `json:"plaintext,omitempty"`
	Hostnames []string         `json:"hostnames,omitempty"`
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
	seen := map[int]bool{}
	for _, s := range d.PublicServices {
		if !seen[s.Port] {
			b.WriteString(frontend(d, s.Port))
		}
		seen[s.Port] = true
		fmt.Fprintf(&b, "backend %s\n  balance leastconn\n  default-server check inter 2s fastinter 500ms rise 1 fall 2\n", s.Name)
		for i, to := range s.Upstreams {
			fmt.Fprintf(&b, "  server %s-%d %s\n", s.Name, i, to)
		}
	}
	return []Unit{haproxyUnit(d, b.String(), d.PublicServices[0].Port)}
}

// frontend is a port. The services that share it are told apart by the name that a client asks for, which is in the clear at the
// beginning of TLS; a name that is nobody's is refused.
func frontend(d Desired, port int) string {
	services := slices.DeleteFunc(slices.Clone(d.PublicServices), func(s PublicService) bool { return s.Port != port })
	var b strings.Builder
	fmt.Fprintf(&b, "frontend %s\n  bind %s:%d\n", services[0].Name, d.Me().Address, port)
	if services[0].Plaintext {
		return b.String() + "  default_backend " + services[0].Name + "\n"
	}
	var names []string
	for _, s := range services {
		names = append(names, s.Hostnames...)
	}
	asked := ""
	if len(names) > 0 {
		asked = " { req.ssl_sni -i " + strings.Join(names, " ") + " }"
	}
	fmt.Fprintf(&b, "  tcp-request inspect-delay 5s\n  tcp-request content accept if { req_ssl_hello_type 1 }%s\n  tcp-request content reject\n", asked)
	for _, s := range services {
		if len(s.Hostnames) == 0 {
			fmt.Fprintf(&b, "  default_backend %s\n", s.Name)
			continue
		}
		fmt.Fprintf(&b, "  use_backend %s if { req.ssl_sni -i %s }\n", s.Name, strings.Join(s.Hostnames, " "))
	}
	return b.String()
}

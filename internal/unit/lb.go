package unit

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// drain is how long an API server that shall stop goes on taking requests, for the load balancer to notice.
const drain = 3 * time.Second

// haproxy is the internal load balancer: the one way to the API servers. It passes TLS through unopened,
// and sends connections to servers that say they are ready. One that stops finishes what it has; the connections of a
// machine that is gone end when it acknowledges nothing for five seconds (tcp-ut).
func haproxy(d Desired) Unit {
	var b strings.Builder
	fmt.Fprintf(&b, haproxyDefaults+`frontend kube-apiserver
  bind %s:%d
  default_backend kube-apiserver
backend kube-apiserver
  balance leastconn
  option httpchk GET %s
  http-check expect status 200
  default-server check check-ssl verify required ca-file %s verifyhost %s inter 1s fastinter 100ms downinter 100ms rise 1 fall 2 tcp-ut 5s
`, d.Me().Address, PortAPIServer, APIReadyPath, CAFile(CAKubernetes), APIServerName)
	for _, m := range d.WithRole(v1alpha1.RoleControlPlane) {
		fmt.Fprintf(&b, "  server %s %s:%d\n", m.Name, m.Address, PortAPIServer)
	}
	// A new worker reads the CA, and the old one ends with its last connection.
	return haproxyUnit(d, b.String(), PortAPIServer, live(caFile(d, CAKubernetes)))
}

// haproxyDefaults begin every configuration of haproxy's: it passes connections on, whatever is in them.
const haproxyDefaults = `global
  maxconn 4000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  retries 3
  option redispatch 1
`

// haproxyUnit is ready when it takes connections on a port.
func haproxyUnit(d Desired, config string, port int, more ...File) Unit {
	return Unit{
		Name: "haproxy",
		// -W: a master that hands over to a new worker; -db would lose connections on reload.
		Args:         []string{"/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"},
		Files:        append(more, File{Path: "/etc/haproxy/haproxy.cfg", Mode: 0o644, Content: config}),
		Ready:        Probe{URL: fmt.Sprintf("tcp://%s:%d", d.Me().Address, port)},
		ReloadSignal: int(syscall.SIGUSR2),
		Grace:        5 * time.Second,
	}
}

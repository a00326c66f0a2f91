// Package provider is where machines come from. A provider knows nothing of Kubernetes or Vault:
// it makes machines by name, role and address, connects them by declared rules, and removes them.
package provider

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
)

// State is the power state of a machine.
type State string

// The states of a machine. Absent is a machine with a reserved address and nothing else.
const (
	Absent  State = "absent"
	Stopped State = "stopped"
	Running State = "running"
)

// Machine is one host.
type Machine struct {
	Name    string        `json:"name"`
	Role    v1alpha1.Role `json:"role"`
	Address netip.Addr    `json:"address"`
	// Public is what the internet knows the machine by; invalid if it does not (v1alpha1.Role.Public).
	Public netip.Addr `json:"public,omitzero"`
	State  State      `json:"state"`
	// Pool is the group that the machine is a member of; empty if the file names it.
	Pool string `json:"pool,omitempty"`
}

// Document names whose desired document a machine reads: its own, or that of its pool, whose members share one.
func (m Machine) Document() string {
	if m.Pool != "" {
		return m.Pool
	}
	return m.Name
}

// Endpoint is a port of a role, as a rule's destination.
type Endpoint struct {
	Role     v1alpha1.Role // Outside for the internet
	Protocol string        // tcp or udp; empty is both
	Port     uint16        // 0 is any
}

// Rule lets a role open connections to a port of another, and says why. What no rule allows is refused.
type Rule struct {
	From v1alpha1.Role // Operator for the seat of `ashlar` itself, Trusted for addresses of the internet
	To   Endpoint
	Why  string
}

// Network is how machines are connected, to each other and to the outside.
type Network struct {
	// Rules are the security groups.
	Rules []Rule
	// Trusted are the addresses of the internet that rules mean by Trusted.
	Trusted []netip.Prefix
}

// Sources and destinations of rules that are not the role of a machine.
const (
	// Operator is where `ashlar` runs.
	Operator v1alpha1.Role = "operator"
	// Trusted are addresses of the internet that may reach what is public, at its public address.
	Trusted v1alpha1.Role = "trusted"
	// Outside is the internet, which machines reach through NAT.
	Outside v1alpha1.Role = "outside"
)

// Vantage names a place that a connection can be opened from: a machine's name, or one of these.
const (
	FromOperator = "operator"
	FromInternet = "internet" // of an address that is not trusted, unless all are
	FromTrusted  = "trusted"  // of an address of the internet that is
)

// Drift is one thing that is not as it should be, for people to read.
type Drift struct {
	Machine string // empty: the network between them
	Cause   string
	Action  string
}

func (d Drift) String() string { return fmt.Sprintf("%s: %s → %s", d.Machine, d.Cause, d.Action) }

// Exec is a command to run on a machine.
type Exec struct {
	Args           []string
	Env            []string // added to the machine's own
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool // the caller's terminal is handed through; Stdin, Stdout and Stderr are then ignored
}

// File is put on a machine before it boots, or while it runs.
type File struct {
	Path    string
	Mode    uint32
	Content []byte
}

// Provider makes machines. All methods are idempotent and safe after a crash at any moment of an earlier call.
type Provider interface {
	// Preflight returns every reason why this host cannot carry these machines.
	Preflight(ctx context.Context, machines []v1alpha1.Machine) []error
	// Reserve gives each machine an address that it keeps until Delete, and returns all machines with their state.
	Reserve(ctx context.Context, machines []v1alpha1.Machine) ([]Machine, error)
	// List returns the machines that exist or have an address reserved, sorted by name.
	List(ctx context.Context) ([]Machine, error)
	// NetworkDrift names what differs between the network and what EnsureNetwork would make.
	NetworkDrift(ctx context.Context, machines []Machine, network Network) ([]Drift, error)
	// EnsureNetwork makes the network between the machines, with just these rules.
	EnsureNetwork(ctx context.Context, machines []Machine, network Network) error
	// Graph reads the network as it is, for what can be reached in it.
	Graph(ctx context.Context) (*exposure.Graph, error)
	// Start creates the machine if it is absent, with these files, and powers it on; nothing if it runs.
	Start(ctx context.Context, machine Machine, files []File) error
	// PowerOff kills all of a machine at once; its disk and address stay.
	PowerOff(ctx context.Context, name string) error
	// Delete removes a machine, its disk and its address.
	Delete(ctx context.Context, name string) error
	// Write puts files on a machine, running or not, each atomically.
	Write(ctx context.Context, name string, files []File) error
	// Read returns a file of a machine, running or not; fs.ErrNotExist if there is none.
	Read(ctx context.Context, name, path string) ([]byte, error)
	// Exec runs a command on a running machine; a non-zero exit is an *exec.ExitError.
	Exec(ctx context.Context, name string, e Exec) error
	// Dial opens a connection as if from a vantage.
	Dial(ctx context.Context, vantage, network, address string) (net.Conn, error)
	// Listen takes connections at a vantage; without a host, at the address that the vantage is known by. What cannot be is
	// errors.ErrUnsupported.
	Listen(ctx context.Context, vantage, network, address string) (net.Listener, error)
	// NATGateways are the addresses that the outside knows machines by that have none of their own there.
	NATGateways(ctx context.Context) ([]netip.Addr, error)
	// Destroy removes all that the provider made for the cluster.
	Destroy(ctx context.Context) error
}

// Cloud is a Provider whose machines are somebody else's: they prove by themselves which they are, and fetch what they need.
// Members of groups come and go, and what balances load is no machine.
type Cloud interface {
	Provider
	// Place is where the machines are, as they prove it.
	Place(ctx context.Context) (Place, error)
	// Balancer is the internal load balancer: its name in the cloud's DNS, and an address of it.
	Balancer(ctx context.Context) (Machine, error)
	// Publish puts a small file where machines look for it; Published reads what is there: fs.ErrNotExist if nothing is.
	Publish(ctx context.Context, name string, content []byte) error
	Published(ctx context.Context, name string) ([]byte, error)
}

// Place is where a cloud's machines are.
type Place struct {
	Account, Region, Network string       // Network is the id of the VPC
	Range                    netip.Prefix // its addresses
}

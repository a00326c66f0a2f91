// Package local makes every machine a runc container on this host, in a network that never shows on the host.
//
// A machine is a host, not a sandbox: it runs containers of its own, so it has the capabilities that this host's
// root has, all devices, and no seccomp filter. What is confined are the pods inside it, and the packets between
// machines. Do not give the root of such a machine to somebody who may not be root on this host.
package local

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"ashlar.dev/ashlar/internal/provider"
)

// bundleInMachine is where a machine finds the software bundle.
const bundleInMachine = "/opt/ashlar/bundle"

// Options configure a Provider.
type Options struct {
	// Cluster is the cluster's name, a DNS label.
	Cluster string
	// Dir is the cluster's state directory. Machines are kept below Dir/machines.
	Dir string
	// Bundle is the software bundle's directory; machines see it at /opt/ashlar/bundle.
	Bundle string
	// MachineCIDR is the network of the machines.
	MachineCIDR netip.Prefix
	// Init is the machines' first process; ashlar-init with the agent if it is empty.
	Init []string
	// Sizes are the most that machines may use, by their names. Others may use all there is.
	Sizes map[string]Size
}

// Size is the most that a machine may use, in thousandths of CPUs and in bytes; 0: all there is.
type Size struct{ MilliCPUs, Memory int64 }

// Provider is a provider.Provider whose machines are runc containers. It is safe for concurrent use, by several
// processes too.
type Provider struct {
	Options
}

var _ provider.Provider = (*Provider)(nil)

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// New returns a provider for one cluster. It touches nothing.
func New(o Options) (*Provider, error) {
	var problems []error
	if !label.MatchString(o.Cluster) {
		problems = append(problems, fmt.Errorf("cluster name %q is no DNS label", o.Cluster))
	}
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.Bundle) {
		problems = append(problems, fmt.Errorf("state directory %q and bundle %q must be absolute paths", o.Dir, o.Bundle))
	}
	if !o.MachineCIDR.IsValid() || !o.MachineCIDR.Addr().Is4() {
		problems = append(problems, fmt.Errorf("machine CIDR %s is no IPv4 network", o.MachineCIDR))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("local provider: %w", errors.Join(problems...))
	}
	o.MachineCIDR = o.MachineCIDR.Masked()
	if len(o.Init) == 0 {
		bin := bundleInMachine + "/bin/"
		o.Init = []string{bin + "ashlar-init", bin + "ashlar", "agent"}
	}
	return &Provider{Options: o}, nil
}

// What a cluster has outside its state directory is found by its name alone.

func (p *Provider) runDir() string   { return "/run/ashlar/" + p.Cluster }
func (p *Provider) runcRoot() string { return p.runDir() + "/runc" }

func (p *Provider) machinesDir() string            { return filepath.Join(p.Dir, "machines") }
func (p *Provider) machineDir(name string) string  { return filepath.Join(p.machinesDir(), name) }
func (p *Provider) rootfs(name string) string      { return filepath.Join(p.machineDir(name), "rootfs") }
func (p *Provider) cgroupPath(name string) string  { return "/ashlar/" + p.Cluster + "/" + name }
func (p *Provider) fabricNamespace() string        { return "ashlar-" + p.Cluster + "-fabric" }
func (p *Provider) internetNamespace() string      { return "ashlar-" + p.Cluster + "-internet" }
func (p *Provider) machineNamespacePrefix() string { return "ashlar-" + p.Cluster + "." }

// machineNamespace has a dot, which no name has: cluster a's machine b-c-0 is not cluster a-b's machine c-0.
func (p *Provider) machineNamespace(name string) string { return p.machineNamespacePrefix() + name }

// runc is the bundle's, or the host's where the bundle has none.
func (p *Provider) runc() string {
	if bin := filepath.Join(p.Bundle, "bin", "runc"); exists(bin) {
		return bin
	}
	return "runc"
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func checkName(name string) error {
	if !label.MatchString(name) {
		return fmt.Errorf("machine name %q is no DNS label", strings.ToValidUTF8(name, "?"))
	}
	return nil
}

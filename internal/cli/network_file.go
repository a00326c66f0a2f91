package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/controller"
	"ashlar.dev/ashlar/internal/etcdauth"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/unit"
)

func readNetwork(file string) (unit.Network, error) {
	var n unit.Network
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return n, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// overlayOf is what the overlay's etcd must hold of what is declared.
func overlayOf(n unit.Network) (etcdauth.Calico, error) {
	compiled, err := network.CompileFor(n)
	out := etcdauth.Calico{PodCIDR: n.PodCIDR, Members: n.Members, Policy: calico.Of(compiled)}
	for _, w := range n.Workers {
		out.Workers = append(out.Workers, w.Name)
	}
	return out, err
}

// readPolicies is what namespaces must have of what is declared.
func readPolicies() (controller.Policies, error) {
	n, err := readNetwork(unit.NetworkFile)
	if err != nil {
		return controller.Policies{}, err
	}
	compiled, err := network.CompileFor(n)
	return controller.Policies{Declared: n.Policy, Compiled: compiled.Kubernetes}, err
}

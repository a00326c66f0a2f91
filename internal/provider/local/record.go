package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// firstMachine is the offset in the MachineCIDR of the first machine's address; those before are the network's own.
const firstMachine = 10

// record is what is written down of a machine, once, when its address is reserved.
type record struct {
	Name    string        `json:"name"`
	Role    v1alpha1.Role `json:"role"`
	Address netip.Addr    `json:"address"`
	CIDR    netip.Prefix  `json:"cidr"`
}

// Reserve implements provider.Provider.
func (p *Provider) Reserve(ctx context.Context, machines []v1alpha1.Machine) ([]provider.Machine, error) {
	if err := os.MkdirAll(p.machinesDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of machines: %w", err)
	}
	unlock, err := lock(ctx, p.machinesDir())
	if err != nil {
		return nil, err
	}
	defer unlock()
	have, err := p.records()
	if err != nil {
		return nil, err
	}
	added, err := reserve(p.MachineCIDR, have, machines)
	if err != nil {
		return nil, err
	}
	for _, r := range added {
		if err := writeRecord(p.machineDir(r.Name), r); err != nil {
			return nil, fmt.Errorf("record the address of machine %s: %w", r.Name, err)
		}
	}
	return p.List(ctx)
}

// reserve gives each machine that is not yet in have the lowest free address.
func reserve(cidr netip.Prefix, have []record, machines []v1alpha1.Machine) ([]record, error) {
	taken, named := map[netip.Addr]bool{}, map[string]bool{}
	for _, r := range have {
		taken[r.Address], named[r.Name] = true, true
		if r.CIDR != cidr {
			return nil, fmt.Errorf("machine %s is in network %s, the machine CIDR is now %s: machines cannot move; restore the old one, or make a new cluster",
				r.Name, r.CIDR, cidr)
		}
	}
	var added []record
	next := nth(cidr, firstMachine)
	for _, m := range machines {
		if err := checkName(m.Name); err != nil {
			return nil, err
		}
		if named[m.Name] {
			continue
		}
		for taken[next] {
			next = next.Next()
		}
		if !cidr.Contains(next.Next()) { // the last one is the network's broadcast address
			return nil, fmt.Errorf("network %s has no address left for machine %s: machines are numbered from %s on", cidr, m.Name, nth(cidr, firstMachine))
		}
		taken[next], named[m.Name] = true, true
		added = append(added, record{Name: m.Name, Role: m.Role, Address: next, CIDR: cidr})
	}
	return added, nil
}

// nth returns the n-th address of a network; the invalid address if there are fewer in all of IPv4.
func nth(cidr netip.Prefix, n int) netip.Addr {
	a := cidr.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// operatorAddress is the address in the fabric that the operator's connections come from.
func (p *Provider) operatorAddress() netip.Addr { return nth(p.MachineCIDR, 1) }

// List implements provider.Provider.
func (p *Provider) List(context.Context) ([]provider.Machine, error) {
	records, err := p.records()
	if err != nil {
		return nil, err
	}
	machines := make([]provider.Machine, 0, len(records))
	for _, r := range records {
		machines = append(machines, provider.Machine{Name: r.Name, Role: r.Role, Address: r.Address, State: p.state(r.Name)})
	}
	return withPublic(machines), nil
}

// records returns all that is recorded, sorted by name.
func (p *Provider) records() ([]record, error) {
	dirs, err := os.ReadDir(p.machinesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	var out []record
	for _, d := range dirs {
		r, err := p.record(d.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // a Reserve or Delete that did not come to its end
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b record) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (p *Provider) record(name string) (record, error) {
	var r record
	if err := checkName(name); err != nil {
		return r, err
	}
	path := filepath.Join(p.machineDir(name), "machine.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("machine %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Name != name || !r.Address.IsValid() {
		return r, fmt.Errorf("machine %s: %s is damaged: delete the machine, then make it again: %w", name, path, err)
	}
	return r, nil
}

func writeRecord(dir string, r record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return writeAtomically(root, "machine.json", append(b, '\n'), 0o600)
}

// lock takes the lock of a directory. It is held until unlock, or until the process and whoever inherited
// the lock's file have ended.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := lockFile(ctx, dir)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

func lockFile(ctx context.Context, dir string) (*os.File, error) {
	for {
		f, err := os.Open(dir)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		err = flock(f)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		// Whoever held it may have removed the directory, and another may have made it anew.
		held, errHeld := f.Stat()
		now, errNow := os.Stat(dir)
		if errHeld == nil && errNow == nil && os.SameFile(held, now) {
			return f, nil
		}
		_ = f.Close()
	}
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// minFree is what a small cluster writes in its first hours: images of each worker, logs, etcd. In bytes.
const minFree = 3 << 30

// tools of the host that machines use from its /usr, by the Debian package that has them.
var tools = map[string]string{
	"nft": "nftables", "iptables": "iptables", "ipset": "ipset", "conntrack": "conntrack", "haproxy": "haproxy",
	"sshd": "openssh-server",
}

// Preflight implements provider.Provider. What the kernel can do is found out by doing it, where it leaves nothing.
func (p *Provider) Preflight(ctx context.Context, machines []v1alpha1.Machine) []error {
	if os.Geteuid() != 0 {
		return []error{errors.New("machines on this host are made by root: run ashlar with sudo")}
	}
	problems := slices.Concat(missingTools(), p.incompleteBundle(), p.otherNetwork(), lackOfSpace(p.Dir), p.lackOfInotify(machines))
	if target, err := os.Readlink("/bin"); err != nil || !strings.HasSuffix(target, "usr/bin") {
		problems = append(problems, errors.New("/bin is no link into /usr: machines share the host's merged /usr, as of Debian 12 or Ubuntu 20.04"))
	}
	for _, f := range kernelFeatures {
		if err := f.try(ctx); err != nil {
			problems = append(problems, fmt.Errorf("the kernel cannot do %s: %w", f.name, err))
		}
	}
	return problems
}

func missingTools() []error {
	var packages, names []string
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			packages, names = append(packages, pkg), append(names, tool)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	slices.Sort(packages)
	return []error{fmt.Errorf("this host lacks %s: apt-get install %s", strings.Join(names, ", "), strings.Join(packages, " "))}
}

func (p *Provider) incompleteBundle() []error {
	var problems []error
	first, inBundle := strings.CutPrefix(p.Init[0], bundleInMachine+"/")
	if inBundle && !exists(filepath.Join(p.Bundle, first)) {
		problems = append(problems, fmt.Errorf("the bundle %s lacks %s: build it with `make bundle`", p.Bundle, first))
	}
	if _, err := exec.LookPath(p.runc()); err != nil {
		problems = append(problems, fmt.Errorf("the bundle %s lacks bin/runc: build it with `make bundle`", p.Bundle))
	}
	return problems
}

func (p *Provider) otherNetwork() []error {
	have, err := p.records()
	if err == nil {
		_, err = reserve(p.MachineCIDR, have, nil)
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// lackOfSpace looks at the file system that dir is, or will be, on.
func lackOfSpace(dir string) []error {
	for !exists(dir) && dir != "/" {
		dir = filepath.Dir(dir)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return []error{fmt.Errorf("look at the free space of %s: %w", dir, err)}
	}
	if free := s.Bavail * uint64(s.Bsize); free < minFree {
		return []error{fmt.Errorf("%s has %d MiB free, machines need %d MiB", dir, free>>20, uint64(minFree)>>20)}
	}
	return nil
}

// inotifyEach is how many inotify instances a machine takes: programs that watch files have one or more each, and the
// kernel gives a user few (128 by default).
const inotifyEach = 6

// lackOfInotify tries to have as many inotify instances as the machines that do not run yet will want.
func (p *Provider) lackOfInotify(machines []v1alpha1.Machine) []error {
	wanted := 0
	for _, m := range machines {
		if p.state(m.Name) != provider.Running {
			wanted += inotifyEach
		}
	}
	for range wanted {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return []error{fmt.Errorf("the machines need %d more inotify instances than this host's root may have: "+
				"sysctl -w fs.inotify.max_user_instances=1024: %w", wanted, err)}
		}
		defer unix.Close(fd)
	}
	return nil
}

// kernelFeatures are what machines need of the kernel, each tried in namespaces that end with the attempt.
var kernelFeatures = []struct {
	name string
	try  func(context.Context) error
}{
	{"network namespaces and links between them (veth)", func(context.Context) error {
		return inScratch(unix.CLONE_NEWNET, func() error {
			return addLink(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "try0"}, PeerName: "try1"})
		})
	}},
	{"the pods' overlay network (vxlan)", func(context.Context) error {
		return inScratch(unix.CLONE_NEWNET, func() error {
			return addLink(&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "try0"}, VxlanId: 1, Port: 4789})
		})
	}},
	{"security groups (nftables with sets, connection tracking, reject)", func(ctx context.Context) error {
		if _, err := exec.LookPath("nft"); err != nil {
			return nil // already said
		}
		return inScratch(unix.CLONE_NEWNET, func() error {
			_, err := nft(ctx, Ruleset(nil, provider.Network{}), "-f", "-")
			return err
		})
	}},
	{"containers' disks (overlayfs)", func(context.Context) error { return inScratch(unix.CLONE_NEWNS, tryOverlay) }},
	{"cgroups", func(context.Context) error {
		roots, err := cgroupRoots()
		if err == nil && len(roots) == 0 {
			err = errors.New("no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup")
		}
		return err
	}},
}

// addLink adds a link in the network namespace of the calling thread.
func addLink(link netlink.Link) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LinkAdd(link)
}

// tryOverlay mounts an overlay in memory, over the temporary directory that only this thread then sees so.
func tryOverlay() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	dir := os.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	at := func(d string) string { return filepath.Join(dir, d) }
	return unix.Mount("overlay", at("merged"), "overlay", 0, "lowerdir="+at("lower")+",upperdir="+at("upper")+",workdir="+at("work"))
}

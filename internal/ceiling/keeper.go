package ceiling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/vishvananda/netlink"
)

// refresh is how soon a ceiling is back that somebody took away.
const refresh = 2 * time.Second

// keeper knows the machine's pods, and holds each to its ceiling.
type keeper struct {
	ceilings Ceilings
	// groups is nil, and network false, where the kernel cannot: then unable says why.
	groups  *groups
	network bool
	unable  []string
	log     *slog.Logger

	mu   sync.Mutex
	pods map[string]*pod
	// restored counts how often a pod that was held had to be told to the kernel again.
	restored int
}

// pod is one of the machine's, by what holds it.
type pod struct {
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Class     string  `json:"class"`
	Ceiling   Ceiling `json:"ceiling,omitzero"`
	// Group is its control group, Network its network namespace; empty if it has the machine's.
	Group   string `json:"group"`
	Network string `json:"network,omitempty"`
	// Problem is why the kernel does not hold it.
	Problem string `json:"problem,omitempty"`

	held bool
}

func newKeeper(c Ceilings, log *slog.Logger) *keeper {
	k := &keeper{ceilings: c, log: log, pods: map[string]*pod{}}
	if g, err := findGroups("/sys/fs/cgroup"); err == nil {
		k.groups = &g
	} else {
		k.unable = append(k.unable, "disk: "+err.Error())
	}
	if err := tryQueue(); err == nil {
		k.network = true
	} else {
		k.unable = append(k.unable, "network: "+err.Error())
	}
	for _, why := range k.unable {
		log.Warn("this kernel cannot hold pods to their ceilings", "because", why)
	}
	return k
}

// tryQueue asks the kernel for a queue on an interface that is made for that.
func tryQueue() error {
	const name = "ashlar-try"
	at := netlink.NewLinkAttrs()
	at.Name = name
	l := &netlink.Veth{LinkAttrs: at, PeerName: name + "0"}
	_ = netlink.LinkDel(l) // of one that was killed
	if err := netlink.LinkAdd(l); err != nil {
		return fmt.Errorf("make an interface to try: %w", err)
	}
	err := netlink.QdiscAdd(queueFor(l.Index, 1<<20))
	if err != nil {
		err = fmt.Errorf("the kernel has no queue that holds what leaves to a rate (tbf): %w", err)
	}
	return errors.Join(err, netlink.LinkDel(l))
}

// add learns of a pod.
func (k *keeper) add(p *api.PodSandbox) {
	now := &pod{Namespace: p.GetNamespace(), Name: p.GetName(), Group: groupOf(p.GetLinux().GetCgroupParent())}
	now.Class, now.Ceiling = k.ceilings.Of(p.GetLabels())
	for _, ns := range p.GetLinux().GetNamespaces() {
		if ns.GetType() == "network" {
			now.Network = ns.GetPath()
		}
	}
	k.pods[p.GetId()] = now
}

// hold makes the kernel hold a pod.
func (k *keeper) hold(p *pod) error {
	var changed bool
	var errs []error
	if k.groups != nil {
		all, err := disks("/sys")
		if err == nil {
			changed, err = k.groups.hold(p.Group, p.Ceiling.Disk, all)
		}
		errs = append(errs, err)
	}
	if k.network {
		shaped, err := p.Ceiling.Network.hold(p.Network)
		changed, errs = changed || shaped, append(errs, err)
	}
	err := errors.Join(errs...)
	if changed && p.held {
		k.restored++
		k.log.Warn("a pod's ceiling had been changed, and is back", "namespace", p.Namespace, "pod", p.Name, "class", p.Class)
	}
	p.held, p.Problem = err == nil, ""
	if err != nil {
		p.Problem = err.Error()
		return fmt.Errorf("hold pod %s/%s to the ceiling of its class %s: %w", p.Namespace, p.Name, p.Class, err)
	}
	return nil
}

// Synchronize hears of all pods that there are: they may be older than this process.
func (k *keeper) Synchronize(_ context.Context, pods []*api.PodSandbox, _ []*api.Container) ([]*api.ContainerUpdate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.pods)
	for _, p := range pods {
		k.add(p)
	}
	k.holdAll()
	return nil, nil
}

// RunPodSandbox hears of a pod that has its group and its network, and no container yet: it gets none if this fails.
func (k *keeper) RunPodSandbox(_ context.Context, p *api.PodSandbox) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add(p)
	return k.hold(k.pods[p.GetId()])
}

// StartContainer hears of a container whose process waits to become what the image says.
func (k *keeper) StartContainer(_ context.Context, p *api.PodSandbox, _ *api.Container) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.pods[p.GetId()]
	if known == nil {
		k.add(p)
		known = k.pods[p.GetId()]
	}
	held := known.held
	known.held = false // its group is a new one
	err := k.hold(known)
	known.held = known.held || held && err == nil
	return err
}

// StopPodSandbox hears of a pod's end; its network is no more.
func (k *keeper) StopPodSandbox(_ context.Context, p *api.PodSandbox) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pods, p.GetId())
	return nil
}

// RemovePodSandbox hears of one that was never stopped.
func (k *keeper) RemovePodSandbox(ctx context.Context, p *api.PodSandbox) error {
	return k.StopPodSandbox(ctx, p)
}

func (k *keeper) holdAll() {
	for _, p := range k.pods {
		before := p.Problem
		if err := k.hold(p); err != nil && p.Problem != before {
			k.log.Error(err.Error())
		}
	}
}

// keep holds all pods again and again, until the context ends.
func (k *keeper) keep(ctx context.Context) error {
	again := time.NewTicker(refresh)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			k.mu.Lock()
			k.holdAll()
			k.mu.Unlock()
		}
	}
}

// Status is what the keeper says of itself.
type Status struct {
	// Groups is the version of the control groups that hold disks; empty where none does.
	Groups string `json:"groups,omitempty"`
	// Unable is what this kernel cannot hold, and why.
	Unable []string `json:"unable,omitempty"`
	// Connected: containerd has every new pod wait for it.
	Connected bool `json:"connected"`
	// Restored is how often somebody had changed a pod's ceiling.
	Restored int `json:"restored"`
	// Pods are all pods, with what each is held to.
	Pods []pod `json:"pods"`
}

func (k *keeper) status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Unable: k.unable, Restored: k.restored, Pods: []pod{}}
	if k.groups != nil {
		s.Groups = "v1"
		if k.groups.unified {
			s.Groups = "v2"
		}
	}
	for _, p := range k.pods {
		s.Pods = append(s.Pods, *p)
	}
	slices.SortFunc(s.Pods, func(a, b pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return s
}

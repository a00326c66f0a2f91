// Command guest runs inside the machine that test/selinux boots. It speaks to the containerd that the agent brought up as a kubelet
// does, and attacks from inside of pods.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	socket = "unix:///run/containerd/containerd.sock"
	image  = "ashlar.dev/ashlar:test"
)

// runtime is the machine's containerd.
type runtime struct{ cri.RuntimeServiceClient }

func dial() (runtime, error) {
	conn, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return runtime{cri.NewRuntimeServiceClient(conn)}, err
}

// pod is one container with its sandbox.
type pod struct {
	name, sandbox, container string
	privileged               bool
	level                    string
}

// mount is a directory of the machine in a pod.
type mount struct{ host, inside string }

// run starts a pod of one container, which is root in it.
func (r runtime) run(ctx context.Context, p pod, mounts []mount, args ...string) (pod, error) {
	options := &cri.SELinuxOption{Level: p.level}
	if p.level == "" {
		options = nil
	}
	config := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: p.name, Uid: p.name, Namespace: "guest"},
		LogDirectory: "/var/log/pods/guest_" + p.name,
		Linux: &cri.LinuxPodSandboxConfig{CgroupParent: "/kubepods/pod" + p.name,
			SecurityContext: &cri.LinuxSandboxSecurityContext{Privileged: p.privileged, SelinuxOptions: options,
				Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}}},
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return p, err
	}
	sandbox, err := r.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return p, fmt.Errorf("run the sandbox of pod %s: %w", p.name, err)
	}
	p.sandbox = sandbox.PodSandboxId
	c := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "probe"}, Image: &cri.ImageSpec{Image: image}, LogPath: "probe.log",
		Command: append([]string{"/ashlar", "probe"}, args...),
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			Privileged: p.privileged, SelinuxOptions: options, NoNewPrivs: !p.privileged, ReadonlyRootfs: true,
			Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}}},
	}
	for _, m := range mounts {
		c.Mounts = append(c.Mounts, &cri.Mount{HostPath: m.host, ContainerPath: m.inside})
	}
	made, err := r.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.sandbox, Config: c, SandboxConfig: config})
	if err != nil {
		return p, fmt.Errorf("create the container of pod %s: %w", p.name, err)
	}
	p.container = made.ContainerId
	if _, err := r.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container}); err != nil {
		return p, fmt.Errorf("start the container of pod %s: %w", p.name, err)
	}
	return p, nil
}

// read is what `ashlar probe read` says of a file.
type read struct {
	Path, Words, Refusal string
}

// read has a pod read files.
func (r runtime) read(ctx context.Context, p pod, paths ...string) (map[string]read, error) {
	out, err := r.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.container, Cmd: append([]string{"/ashlar", "probe", "read"}, paths...), Timeout: 60})
	if err != nil {
		return nil, fmt.Errorf("read in pod %s: %w", p.name, err)
	}
	var all []read
	if err := json.Unmarshal(out.Stdout, &all); err != nil {
		return nil, fmt.Errorf("pod %s answered %q and %q: %w", p.name, out.Stdout, out.Stderr, err)
	}
	of := map[string]read{}
	for _, one := range all {
		of[one.Path] = one
	}
	return of, nil
}

// until tries again until f has no complaint.
func until(ctx context.Context, d time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("for %s: %w", d, err)
		case <-tick.C:
		}
	}
}

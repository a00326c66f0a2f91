// Package userns finds out whether a machine can give pods users that are not its own. It tries: what a kernel's version
// promises, its configuration, a limit or a file system may take back.
package userns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Ability is what came of trying.
type Ability struct {
	Able bool `json:"able"`
	// Why not, in words for people.
	Why string `json:"why,omitempty"`
}

// first is where the attempt's users begin on the machine, size how many a pod has.
const first, size = 1 << 20, 1 << 16

// Try makes users as a pod has them, and mounts as its volumes are: of a directory on the disk that holds pods, and of memory.
// It leaves nothing.
func Try(ctx context.Context, dir string) Ability {
	if err := try(ctx, dir); err != nil {
		return Ability{Why: err.Error()}
	}
	return Ability{Able: true}
}

func try(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Whoever has the namespace does nothing but hold it, until its input ends.
	holder := exec.CommandContext(ctx, "cat")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: first, Size: size}}
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC, UidMappings: ids, GidMappings: ids}
	end, err := holder.StdinPipe()
	if err != nil {
		return err
	}
	if err := holder.Start(); err != nil {
		return fmt.Errorf("make a user namespace: %w%s", err, hint(err))
	}
	defer func() {
		end.Close()
		_ = holder.Wait()
	}()
	users, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
	if err != nil {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	defer users.Close()
	if err := idmapped(func() (int, error) {
		return unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	}, users); err != nil {
		return fmt.Errorf("show the files of %s to other users (an idmapped mount of its file system): %w", dir, err)
	}
	if err := idmapped(memory, users); err != nil {
		return fmt.Errorf("show files in memory to other users (an idmapped mount of tmpfs, since Linux 6.3): %w", err)
	}
	return nil
}

// idmapped changes the owners that a mount shows to those of a user namespace. Nobody sees the mount.
func idmapped(open func() (int, error), users *os.File) error {
	mount, err := open()
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())})
}

func memory() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// hint says what an error of clone is about, where it is known.
func hint(err error) string {
	limit, _ := os.ReadFile("/proc/sys/user/max_user_namespaces")
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "; the limit user.max_user_namespaces is " + strings.TrimSpace(string(limit))
	case errors.Is(err, unix.EINVAL):
		return "; the kernel has none (CONFIG_USER_NS)"
	}
	return ""
}

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNamesAreNotHidden: `ip netns`, which mounts over a directory that is no mount, leaves names that can be removed. It has a
// directory of its own, for that of the host is one already.
func TestNamesAreNotHidden(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	err := onThread(func() error {
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", "/run", "tmpfs", 0, "")
		}
		if err == nil {
			err = keepNamespace(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), "ours")
		}
		if err != nil {
			return err
		}
		if out, err := exec.Command("ip", "netns", "add", "theirs").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if err := removeNamespace("ours"); err != nil {
			return err
		}
		if _, err := os.Stat(namespacePath("ours")); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errors.New("the name is still there"), err)
		}
		_, err = os.Stat(namespacePath("theirs"))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

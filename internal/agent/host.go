package agent

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// minFree is how much of the disk must be free for etcd and logs to be safe.
const minFree = 256 << 20

// diskProblems says when the disk is nearly full.
func diskProblems(path string) []string {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return []string{fmt.Sprintf("look at the disk below %s: %v", path, err)}
	}
	free := st.Bavail * uint64(st.Bsize)
	if free < minFree {
		return []string{fmt.Sprintf("only %d MiB are free below %s: make room, or units will fail", free>>20, path)}
	}
	return nil
}

// maxSkew is how far clocks may be apart. Vault backdates certificates by 30 s; beyond that a new one is not valid yet.
const maxSkew = 20 * time.Second

// clockProblems says when this machine's clock is not Vault's; skew is how far it is ahead.
func clockProblems(skew time.Duration) []string {
	if skew.Abs() <= maxSkew {
		return nil
	}
	where := "ahead of"
	if skew < 0 {
		where = "behind"
	}
	return []string{fmt.Sprintf("the clock is %s %s Vault's: certificates may be refused; set it", skew.Abs().Round(time.Second), where)}
}

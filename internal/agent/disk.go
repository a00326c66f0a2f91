package agent

import (
	"fmt"

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

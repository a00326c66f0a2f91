package userns

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTry(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may show files to other users")
	}
	if got := Try(t.Context(), t.TempDir()); !got.Able || got.Why != "" {
		t.Errorf("this kernel cannot: %s", got.Why)
	}
	// A file system that cannot is named: proc has no idmapped mounts.
	if got := Try(t.Context(), "/proc"); got.Able || !strings.Contains(got.Why, "/proc") {
		t.Errorf("of /proc: %+v", got)
	}
	if got := Try(t.Context(), "/is/not/there"); got.Able || !strings.Contains(got.Why, "/is/not/there") {
		t.Errorf("of no directory: %+v", got)
	}
}

func TestHint(t *testing.T) {
	for err, want := range map[error]string{unix.ENOSPC: "user.max_user_namespaces", unix.EINVAL: "CONFIG_USER_NS", unix.EPERM: ""} {
		if got := hint(err); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

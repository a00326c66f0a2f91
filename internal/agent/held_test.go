package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// What was obtained is known until it has expired, also after its file was damaged.
func TestHeld(t *testing.T) {
	file, now := filepath.Join(t.TempDir(), "certificates.json"), time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	if got := held(file, now); got != nil {
		t.Errorf("before the first there are %v", got)
	}
	for serial, life := range map[string]time.Duration{"02": time.Hour, "01": time.Hour, "03": time.Minute} {
		if err := addHeld(file, obtained{Serial: serial, NotAfter: now.Add(life)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if got := held(file, now); !slices.Equal(got, []string{"01", "02", "03"}) {
		t.Errorf("it holds %v", got)
	}
	now = now.Add(time.Minute)
	if got := held(file, now); !slices.Equal(got, []string{"01", "02"}) {
		t.Errorf("after one has expired it holds %v", got)
	}
	if err := addHeld(file, obtained{Serial: "04", NotAfter: now.Add(time.Hour)}, now); err != nil {
		t.Fatal(err)
	}
	if all, err := loadHeld(file); err != nil || len(all) != 3 {
		t.Errorf("the file has %v, %v: what has expired is to be forgotten", all, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := addHeld(file, obtained{Serial: "05", NotAfter: now.Add(time.Hour)}, now); err != nil {
		t.Fatal(err)
	}
	if got := held(file, now); !slices.Equal(got, []string{"05"}) {
		t.Errorf("after the file was damaged it holds %v", got)
	}
}

// Who is shown others' credentials hears of revocations in time for all of it to take ten seconds.
func TestRest(t *testing.T) {
	for _, role := range v1alpha1.Roles {
		asked := role == v1alpha1.RoleControlPlane || role == v1alpha1.RoleEtcd || role == v1alpha1.RoleLB || role == v1alpha1.RoleBastion
		if got := rest(role); asked != (got <= 5*time.Second) || got > interval {
			t.Errorf("%s rests for %s", role, got)
		}
	}
}

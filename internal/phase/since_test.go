package phase

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestChanges reads a log in which nearly everything is of no interest, or before the backup.
func TestChanges(t *testing.T) {
	taken := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var log strings.Builder
	line := func(minute int, kind, op, path string, more ...string) {
		request := map[string]any{"operation": op, "path": path}
		failed := ""
		for _, m := range more {
			if s, ok := strings.CutPrefix(m, "serial "); ok {
				request["data"] = map[string]any{"serial_number": s}
			} else {
				failed = m
			}
		}
		b, err := json.Marshal(map[string]any{"time": taken.Add(time.Duration(minute) * time.Minute), "type": kind, "error": failed, "request": request})
		if err != nil {
			t.Fatal(err)
		}
		log.Write(append(b, '\n'))
	}
	const revoke = "demo/pki/kubernetes/revoke"
	line(-1, "response", "update", revoke, "serial 01:02")
	line(5, "response", "update", "auth/demo/users/users/bob")
	line(1, "request", "update", revoke, "serial 03:04") // only asked for
	line(1, "response", "update", revoke, "serial 03:04")
	line(2, "response", "update", revoke, "serial 05:06", "permission denied")
	line(2, "response", "update", "demo/pki/kubernetes/sign/kubelet")
	line(2, "response", "update", "demo/machines/data/worker-0/status")
	line(2, "response", "update", "auth/demo/users/users/ashlar-verify")
	line(2, "response", "update", "auth/other/users/users/eve")
	line(3, "response", "delete", "auth/demo/users/users/carol")
	line(4, "response", "update", "identity/entity/name/alice@demo")
	line(4, "response", "update", "identity/entity/name/demo-worker-1")
	line(6, "response", "update", "auth/demo/robots/role/ci/secret-id")
	line(7, "response", "update", "auth/demo/robots/role/ci/secret-id-accessor/destroy")
	line(8, "response", "delete", "auth/demo/approle/role/worker-2")
	line(9, "response", "update", "demo/transit/keys/etcd/rotate")
	line(10, "response", "update", "demo/transit/keys/etcd/config")
	log.WriteString("half a li")
	want := []string{
		"2026-03-01 12:01:00 certificate 03:04 of CA kubernetes was revoked: revoke it again",
		"2026-03-01 12:03:00 user carol was removed: remove them again",
		"2026-03-01 12:04:00 user alice was made or changed: check them",
		"2026-03-01 12:05:00 user bob got another password: the old one is good again",
		"2026-03-01 12:06:00 robot ci got a secret, which is no good any more: make another",
		"2026-03-01 12:07:00 a secret of robot ci was withdrawn: make another, which withdraws it again",
		"2026-03-01 12:08:00 the login of machine worker-2 was removed: done again",
		"2026-03-01 12:09:00 the key that encrypts Secrets in etcd was replaced: with this Vault only an etcd of before can be read",
		"2026-03-01 12:10:00 what was sealed by an older key than the present one cannot be read any more: with this Vault it can, until `ashlar pki rotate encryption-key`",
	}
	var got []string
	for _, c := range changes([]byte(log.String()), "demo", taken) {
		got = append(got, c.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

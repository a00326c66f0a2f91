package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// changesSince names what was withdrawn or changed in Vault after a backup was taken, and comes back with it: what the audit
// logs on the machines' disks still tell. It is sorted by time.
func (c *Cluster) changesSince(ctx context.Context, since time.Time) ([]string, error) {
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return nil, err
	}
	var log []byte
	for _, m := range machines {
		part, err := c.auditLog(ctx, m)
		if err != nil {
			return nil, err
		}
		log = append(log, part...)
	}
	out := changes(log, c.Spec.Metadata.Name, since)
	if len(log) == 0 {
		out = append(out, "no audit log of Vault is left: what was revoked or changed since, nobody can tell")
	}
	return out, nil
}

// auditLog reads the first of a machine's audit logs, of which each has everything; nothing if it has none.
func (c *Cluster) auditLog(ctx context.Context, m provider.Machine) ([]byte, error) {
	if m.State == provider.Running {
		var out, said bytes.Buffer
		// Nearly all of a log is agents asking for news.
		err := c.Provider.Exec(ctx, m.Name, provider.Exec{Stdout: &out, Stderr: &said, Args: []string{
			"sh", "-c", `ls "$0"* >/dev/null 2>&1 || exit 0; grep -hE '"operation":"(update|create|delete)"' "$0"* || test $? = 1`, unit.AuditLogs[0]}})
		if err != nil {
			return nil, fmt.Errorf("read Vault's audit log on %s: %w: %s", m.Name, err, bytes.TrimSpace(said.Bytes()))
		}
		return out.Bytes(), nil
	}
	there, err := c.onDisk(ctx, m, unit.AuditLogs[0])
	if err != nil || !there {
		return nil, err
	}
	b, err := c.Provider.Read(ctx, m.Name, unit.AuditLogs[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// auditLine is what matters here of a line of Vault's audit log.
type auditLine struct {
	Time    time.Time
	Type    string
	Error   string
	Request struct {
		Operation, Path string
		Data            struct {
			Serial any `json:"serial_number"`
		}
	}
}

// changes reads an audit log.
func changes(log []byte, cluster string, since time.Time) []string {
	var lines []auditLine
	for text := range bytes.Lines(log) {
		var l auditLine
		if json.Unmarshal(text, &l) == nil && l.Type == "response" && l.Error == "" && l.Time.After(since) {
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b auditLine) int { return a.Time.Compare(b.Time) })
	var out []string
	for _, l := range lines {
		if what := l.change(cluster); what != "" {
			out = append(out, l.Time.UTC().Format("2006-01-02 15:04:05")+" "+what)
		}
	}
	return out
}

// change says in words what a request withdrew or changed that only Vault knew; empty if the cluster's file knows it too.
func (l auditLine) change(cluster string) string {
	p, op := l.Request.Path, l.Request.Operation
	last := path.Base(p)
	users, robots := "auth/"+vault.UsersPath(cluster)+"/users/", "auth/"+vault.RobotsPath(cluster)+"/role/"
	person, isPerson := strings.CutSuffix(strings.TrimPrefix(p, "identity/entity/name/"), "@"+cluster)
	switch {
	case op == "read" || op == "list" || last == vault.Canary:
		return ""
	case strings.HasPrefix(p, cluster+"/pki/") && last == "revoke":
		serial, _ := l.Request.Data.Serial.(string)
		return "certificate " + serial + " of CA " + path.Base(path.Dir(p)) + " was revoked: revoke it again"
	case strings.HasPrefix(p, users) && op == "delete":
		return "user " + last + " was removed: remove them again"
	case strings.HasPrefix(p, users):
		return "user " + last + " got another password: the old one is good again"
	case isPerson && strings.HasPrefix(p, "identity/entity/name/"):
		return "user " + person + " was made or changed: check them"
	case strings.HasPrefix(p, robots) && last == "destroy":
		return "a secret of robot " + path.Base(path.Dir(path.Dir(p))) + " was withdrawn: make another, which withdraws it again"
	case strings.HasPrefix(p, robots) && last == "secret-id":
		return "robot " + path.Base(path.Dir(p)) + " got a secret, which is no good any more: make another"
	case strings.HasPrefix(p, "auth/"+vault.AuthPath(cluster)+"/role/") && op == "delete":
		return "the login of machine " + last + " was removed: so it is again"
	case p == vault.TransitPath(cluster)+"/keys/"+vault.TransitKey+"/rotate":
		return "the key that encrypts Secrets in etcd was replaced: with this Vault only an etcd of before can be read"
	}
	return ""
}

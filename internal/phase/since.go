package phase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Change is something that was done in Vault after a backup was taken, and that restoring the backup undoes.
type Change struct {
	Time time.Time `json:"time"`
	What string    `json:"what"`
	// ToDo is what is left to people; empty: it has been done again.
	ToDo string `json:"toDo,omitempty"`

	ca     unit.CA // of a certificate that was revoked
	serial string
}

func (c Change) String() string {
	text := c.Time.UTC().Format("2006-01-02 15:04:05") + " " + c.What
	if c.ToDo == "" {
		return text + ": done again"
	}
	return text + ": " + c.ToDo
}

// changesSince names what was withdrawn or changed in Vault after a backup was taken, and comes back with it: what the audit
// logs on the machines' disks still tell. It is sorted by time.
func (c *Cluster) changesSince(ctx context.Context, since time.Time) (found []Change, logged bool, err error) {
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return nil, false, err
	}
	var log []byte
	for _, m := range machines {
		part, err := c.auditLog(ctx, m)
		if err != nil {
			return nil, false, err
		}
		log = append(log, part...)
	}
	return changes(log, c.Spec.Metadata.Name, since), len(log) > 0, nil
}

// revokeAgain revokes what was revoked after the backup, as far as the restored Vault knows it. What is refused everywhere without
// Vault needs nothing more.
func revokeAgain(ctx context.Context, root *vault.Client, found []Change, known map[unit.CA][]string, refused []unit.Revocation) {
	for i, f := range found {
		switch {
		case f.serial == "":
		case !slices.Contains(known[f.ca], f.serial) &&
			slices.ContainsFunc(refused, func(r unit.Revocation) bool { return r.CA == f.ca && audit.SameSerial(r.Serial, f.serial) }):
			found[i].ToDo = ""
		case !slices.Contains(known[f.ca], f.serial):
			found[i].ToDo = "it was issued after the backup, so the restored Vault cannot: it is good until it expires"
		default:
			found[i].ToDo = ""
			if err := root.Revoke(ctx, f.ca, f.serial); err != nil {
				found[i].ToDo = "revoke it again: " + err.Error()
			}
		}
	}
}

// changing is what is in a line of the log that may tell of a change. Nearly all of a log is agents asking for news.
var changing = regexp.MustCompile(`"operation":"(update|create|delete)"`)

// auditTimeout is how long reading a machine's audit log may take.
const auditTimeout = time.Minute

// auditLog reads the first of a machine's audit logs, of which each has everything; nothing if it has none.
func (c *Cluster) auditLog(ctx context.Context, m provider.Machine) ([]byte, error) {
	if m.State == provider.Running {
		ctx, cancel := context.WithTimeout(ctx, auditTimeout)
		defer cancel()
		var out, said bytes.Buffer
		err := c.Provider.Exec(ctx, m.Name, provider.Exec{Stdout: &out, Stderr: &said, Args: []string{
			"sh", "-c", `ls "$0"* >/dev/null 2>&1 || exit 0; grep -hE "$1" "$0"* || test $? = 1`, unit.AuditLogs[0], changing.String()}})
		if err != nil {
			return nil, fmt.Errorf("read Vault's audit log on %s: %w: %s", m.Name, err, bytes.TrimSpace(said.Bytes()))
		}
		return out.Bytes(), nil
	}
	if m.State == provider.Absent {
		return nil, ctx.Err()
	}
	var out []byte
	for n := agent.KeptLogs; n >= 0; n-- { // what was moved aside is older
		name := unit.AuditLogs[0]
		if n > 0 {
			name = fmt.Sprintf("%s.%d", name, n)
		}
		b, err := c.Provider.Read(ctx, m.Name, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, telling(b)...)
	}
	return out, ctx.Err()
}

// telling are the lines of a log that may tell of a change.
func telling(log []byte) (out []byte) {
	for line := range bytes.Lines(log) {
		if changing.Match(line) {
			out = append(out, line...)
		}
	}
	return out
}

// changes reads an audit log.
func changes(log []byte, cluster string, since time.Time) []Change {
	var lines []audit.Line
	for text := range bytes.Lines(log) {
		if l, ok := audit.Parse(text); ok && l.Type == "response" && l.Error == "" && l.Time.After(since) {
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b audit.Line) int { return a.Time.Compare(b.Time) })
	out := []Change{}
	for _, l := range lines {
		if f := change(l, cluster); f.What != "" {
			f.Time = l.Time
			out = append(out, f)
		}
	}
	return out
}

// change says what a request withdrew or changed that only Vault knew; nothing if the cluster's file knows it too.
func change(l audit.Line, cluster string) Change {
	p, op := l.Request.Path, l.Request.Operation
	last := path.Base(p)
	users, robots := "auth/"+vault.UsersPath(cluster)+"/users/", "auth/"+vault.RobotsPath(cluster)+"/role/"
	person, isPerson := strings.CutSuffix(strings.TrimPrefix(p, "identity/entity/name/"), "@"+cluster)
	switch {
	case op == "read" || op == "list" || last == vault.Canary:
		return Change{}
	case strings.HasPrefix(p, cluster+"/pki/") && last == "revoke":
		ca := path.Base(path.Dir(p))
		serial := l.VaultSerial()
		return Change{What: "certificate " + serial + " of CA " + ca + " was revoked", ToDo: "revoke it again", ca: unit.CA(ca), serial: serial}
	case strings.HasPrefix(p, users) && op == "delete":
		return Change{What: "user " + last + " was removed", ToDo: "remove them again"}
	case strings.HasPrefix(p, users):
		return Change{What: "user " + last + " got another password", ToDo: "the old one is good again"}
	case isPerson && strings.HasPrefix(p, "identity/entity/name/"):
		return Change{What: "user " + person + " was made or changed", ToDo: "check them"}
	case strings.HasPrefix(p, robots) && last == "destroy":
		return Change{What: "a secret of robot " + path.Base(path.Dir(path.Dir(p))) + " was withdrawn", ToDo: "make another, which withdraws it again"}
	case strings.HasPrefix(p, robots) && last == "secret-id":
		return Change{What: "robot " + path.Base(path.Dir(p)) + " got a secret, which is no good any more", ToDo: "make another"}
	case strings.HasPrefix(p, "auth/"+vault.AuthPath(cluster)+"/role/") && op == "delete":
		return Change{What: "the login of machine " + last + " was removed"}
	case p == vault.TransitPath(cluster)+"/keys/"+vault.TransitKey+"/rotate":
		return Change{What: "the key that encrypts Secrets in etcd was replaced", ToDo: "with this Vault only an etcd of before can be read"}
	case p == vault.TransitPath(cluster)+"/keys/"+vault.TransitKey+"/config":
		return Change{What: retired, ToDo: "with this Vault it can, until `ashlar pki rotate encryption-key`"}
	}
	return Change{}
}

// retired is what the log has when an old version of the encryption key stops decrypting.
const retired = "what was sealed by an older key than the present one cannot be read any more"

// unreadable is an error if the living Vault no longer opens what a backup's etcd holds.
func (c *Cluster) unreadable(ctx context.Context, taken time.Time) error {
	found, _, err := c.changesSince(ctx, taken)
	if err != nil {
		return ctx.Err() // a log that cannot be read must not keep anything from coming back
	}
	if slices.ContainsFunc(found, func(f Change) bool { return f.What == retired }) {
		return InputError{errors.New("the key that encrypts Secrets in etcd was replaced after the backup, and Vault no longer opens what is in it: restore Vault with it, without --only")}
	}
	return nil
}

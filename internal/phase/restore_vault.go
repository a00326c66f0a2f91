package phase

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// openTimeout is how long a Vault that is to be replaced may take to open. One that does not is made anew.
const openTimeout = 15 * time.Second

// holdsVault says whether a machine has a Vault that somebody initialised, as far as can be told.
func (c *Cluster) holdsVault(ctx context.Context, m provider.Machine) bool {
	if m.State == provider.Running {
		if client, err := c.vaultClient(ctx, m); err == nil {
			defer client.Close()
			if s, err := client.Status(ctx); err == nil {
				return s.Initialized
			}
		}
	}
	there, err := c.onDisk(ctx, m, "/var/lib/vault/raft")
	return there || err != nil
}

// machinesToRestore makes and powers on all machines. Those of a Vault that cannot be opened are made anew.
func (c *Cluster) machinesToRestore(ctx context.Context, o RestoreOptions) error {
	if err := applyMachines(ctx, c, nil, nil); err != nil || !o.Vault {
		return err
	}
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return err
	}
	if c.opens(ctx, machines) {
		return nil
	}
	for _, m := range machines {
		if c.holdsVault(ctx, m) {
			if err := c.Provider.Delete(ctx, m.Name); err != nil {
				return err
			}
		}
	}
	return applyMachines(ctx, c, nil, nil)
}

// opens tries to open the Vault that there is.
func (c *Cluster) opens(ctx context.Context, machines []provider.Machine) bool {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	keys, err := vault.ReadKeys(c.keysFile())
	if err != nil {
		return false
	}
	for _, m := range machines {
		client, err := c.listening(ctx, m)
		if err != nil {
			return false
		}
		defer client.Close()
		if s, err := client.Status(ctx); err != nil || !s.Initialized || client.Unseal(ctx, keys) != nil {
			return false
		}
	}
	all, err := c.vaultClient(ctx, machines...)
	if err != nil {
		return false
	}
	defer all.Close()
	return all.WaitActive(ctx) == nil && all.WithRoot(ctx, keys, func(*vault.Client) error { return nil }) == nil
}

// restoreVault replaces what Vault holds. A Vault that opens stays where it is, and so do its audit logs; otherwise an empty
// one is initialised with keys that are forgotten at once, and takes the snapshot, which the old keys open.
func (c *Cluster) restoreVault(ctx context.Context, a *backup.Archive, keys vault.Keys, report *RestoreReport, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, backupTimeout)
	defer cancel()
	c.forgetVault()
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return err
	}
	progress.Detail("waiting for %s to listen", machines[0].Name)
	first, err := c.listening(ctx, machines[0])
	if err != nil {
		return err
	}
	defer first.Close()
	progress.Detail("taking the snapshot")
	status, err := first.Status(ctx)
	if err != nil {
		return err
	}
	into := func(root *vault.Client) error {
		return a.Part(backup.Vault, func(snapshot io.Reader) error { return root.RestoreSnapshot(ctx, snapshot) })
	}
	if status.Initialized {
		err = c.overTheLiving(ctx, machines, keys, into)
	} else {
		err = overTheEmpty(ctx, first, into)
	}
	if err != nil {
		return err
	}
	progress.Detail("unsealing")
	if err := first.Unseal(ctx, keys); err != nil {
		return err
	}
	if err := c.joinOthers(ctx, machines, keys); err != nil {
		return err
	}
	all, err := c.vaultClient(ctx, machines...)
	if err != nil {
		return err
	}
	defer all.Close()
	if err := all.WaitActive(ctx); err != nil {
		return err
	}
	progress.Detail("layout")
	if err := all.WithRoot(ctx, keys, func(root *vault.Client) error { return c.afterRestore(ctx, root, report) }); err != nil {
		return err
	}
	report.Parts = append(report.Parts, backup.Vault)
	progress.Detail("%d certificates in use were not in it", report.Stranded)
	c.forgetVault()
	return nil
}

func (c *Cluster) overTheLiving(ctx context.Context, machines []provider.Machine, keys vault.Keys, into func(*vault.Client) error) error {
	all, err := c.vaultClient(ctx, machines...)
	if err != nil {
		return err
	}
	defer all.Close()
	root, err := all.RootToReplace(ctx, keys)
	if err != nil {
		return err
	}
	return into(root)
}

func overTheEmpty(ctx context.Context, first *vault.Client, into func(*vault.Client) error) error {
	forgotten, root, err := first.InitialiseToReplace(ctx)
	if err != nil {
		return err
	}
	if err := first.Unseal(ctx, forgotten); err != nil {
		return err
	}
	if err := first.WaitActive(ctx); err != nil {
		return err
	}
	return into(first.WithToken(root))
}

// afterRestore takes back what must not come back with a backup: tokens, some of which were revoked since. Then it makes
// what Vault holds as it should be, in a way that the log has it also where the log is new.
func (c *Cluster) afterRestore(ctx context.Context, root *vault.Client, report *RestoreReport) error {
	if err := root.RevokeTokens(ctx); err != nil {
		return err
	}
	refused, err := c.listAgain(ctx, root)
	if err != nil {
		return err
	}
	want, err := c.vaultLayout(ctx, root)
	if err != nil {
		return err
	}
	if err := vault.RewritePolicies(ctx, root, want); err != nil {
		return err
	}
	replaced, err := c.replaceDropped(ctx, root)
	if err != nil {
		return err
	}
	goneWith(report.Since, replaced)
	if err := c.setUp(ctx, root); err != nil {
		return err
	}
	known := map[unit.CA][]string{}
	for _, ca := range unit.CAs {
		if known[ca], err = root.Issued(ctx, ca); err != nil {
			return err
		}
	}
	revokeAgain(ctx, root, report.Since, known, refused)
	report.Since = append(report.Since, replaced...)
	slices.SortStableFunc(report.Since, func(a, b Change) int { return a.Time.Compare(b.Time) })
	if report.Stranded, err = c.stranded(ctx, known); err != nil {
		return err
	}
	c.restoring.renewBefore = time.Now().UTC()
	pki := c.Spec.Spec.PKI
	until := c.restoring.renewBefore.Add(max(pki.LeafTTL.Duration, pki.AdminTTL.Duration)).Truncate(time.Second)
	report.TrustedUntil = &until
	return nil
}

// stranded counts the certificates on machines' disks that the restored Vault has never heard of.
func (c *Cluster) stranded(ctx context.Context, known map[unit.CA][]string) (int, error) {
	leaves, err := c.leavesOnDisks(ctx)
	n := 0
	for _, l := range leaves {
		if l.Issued && !slices.Contains(known[l.CA], l.Serial) {
			n++
		}
	}
	return n, err
}

// renewalTimeout is how long machines may take to replace what the lost Vault signed.
const renewalTimeout = 2 * time.Minute

// awaitRenewal returns once no machine has a certificate from before any more, and each has said so.
func (c *Cluster) awaitRenewal(ctx context.Context, since time.Time, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, renewalTimeout)
	defer cancel()
	for {
		leaves, err := c.leavesOnDisks(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(leaves, func(l diskLeaf) bool { return l.NotBefore.Before(since.Add(-agent.Backdating)) })
		if i < 0 {
			told, err := c.enrolment(ctx)
			if err != nil {
				return err
			}
			i = slices.IndexFunc(leaves, func(l diskLeaf) bool { return !tells(told, l) })
		}
		if i < 0 {
			progress.Detail("%d new", len(leaves))
			return nil
		}
		progress.Detail("waiting for %s", leaves[i].Machine)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not replaced its certificate %s/%s: see `ashlar logs %s`", leaves[i].Machine, leaves[i].CA, leaves[i].Name, leaves[i].Machine)
		case <-time.After(look):
		}
	}
}

// tells says whether a machine no longer reports another certificate than the one that it has: the restored Vault knows what
// it reported at the time of the backup.
func tells(told []enrolled, l diskLeaf) bool {
	for _, e := range told {
		for _, s := range e.status.Certificates {
			if e.machine.Name == l.Machine && s.CA == l.CA && s.Name == l.Name && !audit.SameSerial(s.Serial, l.Serial) {
				return e.out // it tells nothing any more
			}
		}
	}
	return true
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

// backupReport is what a backup came to.
type backupReport struct {
	File     string          `json:"file"`
	Bytes    int64           `json:"bytes"`
	Manifest backup.Manifest `json:"manifest"`
	Timings  []ui.Timing     `json:"timings"`
}

func backupCommand(r *root) *cobra.Command {
	var identity string
	var recipients []string
	cmd := &cobra.Command{
		Use:   "backup FILE (--identity KEY | --recipient age1…)",
		Short: "Write what the cluster holds into one encrypted file",
		Long: `Write a snapshot of Vault and of each etcd cluster into one new file, encrypted with age. Nothing is interrupted by it.

--recipient is who can open it, repeatable. --identity names the file of an age key, which opens it; if there is none, one
is made. Keep that key, and a copy of the unseal keys, anywhere but with the backups: they are not in them.`,
		Example: `  ashlar backup demo.backup --identity backup.key
  ashlar backup demo.backup --recipient age1jnj7msslrlxgyjzyl0yyly6u2uel87f7jjyzgp94d0cz3r9lypfsxgd3ya`,
		Args: cobra.ExactArgs(1),
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			to, err := backupRecipients(cmd, identity, recipients)
			if err != nil {
				return err
			}
			progress := ui.NewProgress(cmd.ErrOrStderr())
			report := backupReport{File: args[0]}
			report.Bytes, err = writeNew(args[0], func(w io.Writer) (err error) {
				report.Manifest, err = phase.Backup(ctx, c, w, to, progress)
				return err
			})
			if err != nil {
				return err
			}
			progress.Done("%s holds cluster %s as of %s", report.File, report.Manifest.Cluster, report.Manifest.Time.Format("2006-01-02 15:04:05 MST"))
			report.Timings = progress.Timings()
			return ui.Write(cmd.OutOrStdout(), r.format, report, func(io.Writer) error { return nil })
		}),
	}
	cmd.Flags().StringVar(&identity, "identity", "", "file of an age key that shall open it; made if there is none")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "who can open it, as age writes it; repeatable")
	return cmd
}

func backupRecipients(cmd *cobra.Command, identity string, recipients []string) ([]backup.Recipient, error) {
	to, err := backup.Recipients(recipients)
	if err != nil {
		return nil, phase.InputError{Err: err}
	}
	if identity != "" {
		made, err := backup.EnsureIdentity(identity, time.Now())
		if err != nil {
			return nil, err
		}
		if made {
			fmt.Fprintf(cmd.ErrOrStderr(), "made %s: whoever has it can open the backup, and without it nobody can\n", identity)
		}
		ids, err := backup.Identities(identity)
		if err != nil {
			return nil, phase.InputError{Err: err}
		}
		for _, id := range ids {
			own, err := backup.OwnRecipient(id)
			if err != nil {
				return nil, phase.InputError{Err: err}
			}
			to = append(to, own)
		}
	}
	if len(to) == 0 {
		return nil, phase.InputError{Err: errors.New("say who shall be able to open it: --identity KEY, or --recipient age1…")}
	}
	return to, nil
}

// writeNew writes a file that is not there yet. It has its name only once it is whole and on the disk.
func writeNew(path string, write func(io.Writer) error) (int64, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return 0, phase.InputError{Err: fmt.Errorf("%s: there is one already, and a backup is not overwritten", path)}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	err = write(f)
	var size int64
	if info, e := f.Stat(); e == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return size, os.Link(f.Name(), path) // and not over one that came meanwhile
}

func restoreCommand(r *root) *cobra.Command {
	var identity, only string
	var o phase.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE --identity KEY",
		Short: "Make the cluster hold what a backup does",
		Long: `Read a backup to its end, make what machines are missing, put Vault and etcd back, and then do as up does. It refuses to
overwrite a Vault or an etcd that holds something, unless --replace says so. If it was interrupted, run it again.

After Vault was restored every machine logs in anew and gets new certificates; people and robots log in again. The answer
names what was revoked or changed after the backup, and is undone by it, as far as Vault's audit log is left to tell.`,
		Example: `  ashlar restore demo.backup --identity backup.key
  ashlar restore demo.backup --identity backup.key --only etcd --replace
  ashlar restore demo.backup --identity backup.key --unseal-keys copy/unseal-keys.json`,
		Args: cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if identity == "" {
				return phase.InputError{Err: errors.New("name the key that opens the backup: --identity KEY")}
			}
			return o.Only(only)
		},
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			ids, err := backup.Identities(identity)
			if err != nil {
				return phase.InputError{Err: err}
			}
			f, err := os.Open(args[0])
			if err != nil {
				return phase.InputError{Err: err}
			}
			defer f.Close()
			archive, err := backup.Open(f, ids...)
			if err != nil {
				return phase.InputError{Err: fmt.Errorf("%s: %w", args[0], err)}
			}
			progress := ui.NewProgress(cmd.ErrOrStderr())
			report, err := phase.Restore(ctx, c, archive, o, progress)
			if err != nil {
				return err
			}
			progress.Done("cluster %s is as it was at %s", report.Cluster, report.Taken.Format("2006-01-02 15:04:05 MST"))
			return ui.Write(cmd.OutOrStdout(), r.format, report, func(w io.Writer) error { return restoreText(w, report) })
		}),
	}
	cmd.Flags().StringVar(&identity, "identity", "", "file of the age key that opens it")
	cmd.Flags().StringVar(&only, "only", "", "restore just that: vault or etcd")
	cmd.Flags().StringVar(&o.UnsealKeys, "unseal-keys", "", "a copy of the unseal keys of that time (default: the operator's own)")
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "overwrite what Vault and etcd hold now")
	return cmd
}

func restoreText(w io.Writer, report phase.RestoreReport) error {
	var b strings.Builder
	if report.TrustedUntil != nil {
		fmt.Fprintf(&b, "%d certificates in use were issued after the backup: they have been replaced. A copy of one is good until %s, unless its CA is replaced.\n",
			report.Stranded, report.TrustedUntil.Format("2006-01-02 15:04:05 MST"))
	}
	if len(report.Since) > 0 {
		b.WriteString("After the backup:\n")
		for _, s := range report.Since {
			b.WriteString("  " + s.String() + "\n")
		}
	}
	if !report.Logged {
		b.WriteString("No audit log of Vault is left: what was revoked or changed after the backup, nobody can tell.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

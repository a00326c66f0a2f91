package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/relay"
	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
)

func sshCommand(r *root) *cobra.Command {
	var user string
	var tty bool
	cmd := &cobra.Command{
		Use:   "ssh [flags] MACHINE [-- COMMAND]",
		Short: "Become root on a machine, through the bastion, by a certificate of minutes",
		Long: `Become root on a machine by ssh, through the bastion: from where whoever is outside and trusted comes. A key is made for this one
connection, in memory, and Vault signs it for five minutes and for this machine. Host keys are signed by Vault, too: none
is taken on trust. Without --user it is the operator who comes, with --user somebody who has logged in (` + "`ashlar login`" + `)
and is in a group that spec.ssh lets in.

The words of COMMAND are joined and given to the machine's shell, as ssh does it. Without one there is a shell.

Exits with the command's own code, and with 255 if ssh itself fails. What goes wrong before that has Ashlar's codes, and a
message that begins with "ashlar:".`,
		Example: `  ashlar ssh worker-0
  ashlar ssh --user alice worker-0 -- journalctl --no-pager`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: r.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if user != "" {
				if err := checkName("user", user); err != nil {
					return err
				}
			}
			return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
				access, err := sshAccess(ctx, cmd, c, args[0], user)
				if err != nil {
					return err
				}
				return r.runSSH(ctx, cmd, access, tty, args[1:])
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&user, "user", "l", "", "as this user, instead of the operator")
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "with a terminal, also for a command")
	return cmd
}

// sshAccess asks for the password, where there is somebody to ask.
func sshAccess(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, machine, user string) (phase.SSHAccess, error) {
	access, err := c.SSH(ctx, machine, user)
	var none phase.NotLoggedIn
	if errors.As(err, &none) && none.ByPassword() && isTerminal(cmd.InOrStdin()) {
		if err := logIn(ctx, cmd, c, user, false); err != nil {
			return access, err
		}
		return c.SSH(ctx, machine, user)
	}
	return access, err
}

// runSSH runs the host's ssh. What it must not find on any disk is in memory of this process, by which it is found: ssh closes
// what it inherits.
func (r *root) runSSH(ctx context.Context, cmd *cobra.Command, a phase.SSHAccess, tty bool, command []string) error {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return errors.New("this host has no ssh: apt-get install openssh-client")
	}
	client := sshkey.Client{
		Bastion: sshkey.Host{Name: a.Bastion.Name, Address: a.Bastion.Address.String(), User: unit.JumpUser},
		To:      sshkey.Host{Name: a.Machine.Name, Address: a.Machine.Address.String(), User: "root"},
	}
	if client.Proxy, err = r.sshProxy(); err != nil {
		return err
	}
	var config string
	for _, f := range []struct {
		path    *string
		content func() string
	}{
		{&client.Key, func() string { return a.Pair.Private }},
		{&client.Certificate, func() string { return a.Pair.Certificate }},
		{&client.KnownHosts, func() string { return a.KnownHosts }},
		{&config, func() string { return client.Config() }}, // by now it knows the others
	} {
		file, err := inMemory("ssh", []byte(f.content()))
		if err != nil {
			return err
		}
		defer file.Close()
		if err := file.Chmod(0o600); err != nil { // ssh looks
			return err
		}
		*f.path = filepath.Join("/proc", strconv.Itoa(os.Getpid()), "fd", strconv.Itoa(int(file.Fd())))
	}
	args := []string{"-F", config}
	if tty {
		args = append(args, "-tt")
	}
	k := exec.CommandContext(ctx, ssh, append(append(args, "--", a.Machine.Name), command...)...)
	k.Stdin, k.Stdout, k.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	return ran(k.Run())
}

// sshProxy is how ssh connects to the bastion: by this very program, and this file.
func (r *root) sshProxy() ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file, err := filepath.Abs(r.file)
	if err != nil {
		return nil, err
	}
	args := []string{program, "ssh-proxy", "--file", file, "--state", r.options.Root}
	if r.options.Bundle != "" {
		args = append(args, "--bundle", r.options.Bundle)
	}
	return args, nil
}

func sshProxyCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:    "ssh-proxy",
		Short:  "Be ssh's connection to the bastion",
		Hidden: true,
		Args:   noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			conn, err := c.DialBastion(ctx)
			if err != nil {
				return err
			}
			return relay.Streams(conn, cmd.InOrStdin(), cmd.OutOrStdout())
		}),
	}
}

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

func kubeconfigCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print a kubeconfig with an administrator's certificate of hours",
		Long: `Print a kubeconfig with a new administrator's certificate, good for spec.pki.adminTTL.

A local cluster's network is in a namespace of its own: use this file with ` + "`ashlar kubectl`" + `'s
network, as in: nsenter --net=/run/netns/ashlar-<cluster>-fabric kubectl --kubeconfig FILE …`,
		Example: "  ashlar kubeconfig > admin.kubeconfig",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			cred, err := c.Admin(cmd.Context())
			if err != nil {
				return err
			}
			config := kubeconfig(c.Spec.Metadata.Name, cred)
			b, err := clientcmd.Write(config)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}

func kubeconfig(cluster string, cred phase.Credential) clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: cred.Server, TLSServerName: unit.APIServerName, CertificateAuthorityData: []byte(cred.CA)}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: cred.Cert, ClientKeyData: cred.Key}
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: "admin"}
	config.CurrentContext = cluster
	return *config
}

func kubectlCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:     "kubectl [flags] -- ARGS",
		Short:   "Run kubectl as the cluster's administrator, from inside its network",
		Example: "  ashlar kubectl -- get nodes",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			cred, err := c.Admin(cmd.Context())
			if err != nil {
				return err
			}
			b, err := clientcmd.Write(kubeconfig(c.Spec.Metadata.Name, cred))
			if err != nil {
				return err
			}
			file, err := inMemory("kubeconfig", b)
			if err != nil {
				return err
			}
			defer file.Close()
			return c.RunInside(provider.FromOperator, func() error {
				k := exec.CommandContext(cmd.Context(), c.Bundle.File("kubectl"), args...)
				k.ExtraFiles = []*os.File{file}
				k.Env = append(os.Environ(), "KUBECONFIG=/dev/fd/3") // the first after standard error
				k.Stdin, k.Stdout, k.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
				return k.Run()
			})
		},
	}
}

// inMemory is a file that no disk ever sees, and that is gone with whoever has it open.
func inMemory(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func execCommand(r *root) *cobra.Command {
	var tty bool
	cmd := &cobra.Command{
		Use:     "exec MACHINE -- COMMAND",
		Short:   "Run a command on a machine",
		Example: "  ashlar exec worker-0 -- nft list ruleset",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			return c.Provider.Exec(cmd.Context(), args[0], provider.Exec{
				Args: args[1:], TTY: tty, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()})
		},
	}
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "with a terminal")
	return cmd
}

func logsCommand(r *root) *cobra.Command {
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:     "logs MACHINE [UNIT]",
		Short:   "Print what a unit of a machine has written; without UNIT, its agent",
		Example: "  ashlar logs control-plane-0 kube-apiserver --lines 20",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			name := "agent"
			if len(args) == 2 {
				name = args[1]
			}
			if filepath.Base(name) != name {
				return inputError{fmt.Errorf("%q is no unit", name)}
			}
			path := "/var/log/ashlar/" + name + ".log"
			if _, err := c.Provider.Read(cmd.Context(), args[0], path); err != nil {
				return fmt.Errorf("machine %s has no log of %s: `ashlar status` lists machines and units", args[0], name)
			}
			tail := []string{"tail", fmt.Sprintf("--lines=%d", lines)}
			if follow {
				tail = append(tail, "--follow=name")
			}
			return c.Provider.Exec(cmd.Context(), args[0], provider.Exec{
				Args: append(tail, path), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()})
		},
	}
	cmd.Flags().IntVar(&lines, "lines", 100, "how many of the last lines")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on printing")
	return cmd
}

func statusCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show machines, units and certificates as the machines report them",
		Example: "  ashlar status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			report, err := phase.Look(cmd.Context(), c)
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), r, report)
		},
	}
}

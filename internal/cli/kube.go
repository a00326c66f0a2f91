package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/unit"
)

func kubeconfigCommand(r *root) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print a kubeconfig with an administrator's certificate of hours, or one of a user's",
		Long: `Print a kubeconfig with a new administrator's certificate, good for spec.pki.adminTTL. With --user, print one without any
credential: kubectl then asks ` + "`ashlar login`" + ` for one each time it needs it.

A local cluster's network is in a namespace of its own, and the file is of use only there. For a cluster named demo:

    nsenter --net=/run/netns/ashlar-demo-fabric kubectl --kubeconfig admin.kubeconfig get nodes`,
		Example: `  ashlar kubeconfig > admin.kubeconfig
  ashlar kubeconfig --user alice > alice.kubeconfig`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			b, err := r.kubeconfig(ctx, c, user)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "for this user, instead of an administrator")
	return cmd
}

// kubeconfig is a file of kubectl's: with a new administrator's certificate, or for a user's login.
func (r *root) kubeconfig(ctx context.Context, c *phase.Cluster, user string) ([]byte, error) {
	access, err := c.Access(ctx)
	if err != nil {
		return nil, err
	}
	who, info := "admin", &clientcmdapi.AuthInfo{}
	if user == "" {
		cred, err := c.Admin(ctx)
		if err != nil {
			return nil, err
		}
		info.ClientCertificateData, info.ClientKeyData = cred.Cert, cred.Key
	} else {
		if err := checkName("user", user); err != nil {
			return nil, err
		}
		who = user
		if info.Exec, err = r.plugin(user); err != nil {
			return nil, err
		}
	}
	return writeKubeconfig(c, access, who, info)
}

func writeKubeconfig(c *phase.Cluster, access phase.Access, who string, info *clientcmdapi.AuthInfo) ([]byte, error) {
	name := c.Spec.Metadata.Name
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: access.Server, TLSServerName: unit.APIServerName, CertificateAuthorityData: []byte(access.CA)}
	config.AuthInfos[who] = info
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: who}
	config.CurrentContext = name
	return clientcmd.Write(*config)
}

// plugin is how kubectl gets a user's credential: from this very program, and this file.
func (r *root) plugin(user string) (*clientcmdapi.ExecConfig, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file, err := filepath.Abs(r.file)
	if err != nil {
		return nil, err
	}
	args := []string{"login", user, "--credential", "--file", file, "--state", r.options.Root}
	if r.options.Bundle != "" {
		args = append(args, "--bundle", r.options.Bundle)
	}
	return &clientcmdapi.ExecConfig{APIVersion: clientauthentication.SchemeGroupVersion.String(), Command: program, Args: args,
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode}, nil
}

func kubectlCommand(r *root) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "kubectl [flags] -- ARGS",
		Short: "Run kubectl as the cluster's administrator or as a user, from inside its network",
		Long: `Run the bundle's kubectl from inside the cluster's network: as the administrator, with a credential that is made for this
one run and never touches a disk, or with --user as somebody who has logged in.

Exits with kubectl's own code; if a signal ended it, with 128 and the signal's number. What goes wrong before kubectl
runs has Ashlar's codes, and a message that begins with "ashlar:".`,
		Example: `  ashlar kubectl -- get nodes
  ashlar kubectl --user alice -- apply -f manifest.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			b, err := r.kubeconfig(ctx, c, user)
			if err != nil {
				return err
			}
			return runKubectl(ctx, cmd, c, b, args)
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "as this user, instead of an administrator")
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault) // manifests
	return cmd
}

// runKubectl runs the bundle's kubectl near the API. The kubeconfig never touches a disk.
func runKubectl(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, kubeconfig []byte, args []string) error {
	return ran(c.NearAPI(ctx, func(server string) error {
		near, err := servedAt(kubeconfig, server)
		if err != nil {
			return err
		}
		file, err := inMemory("kubeconfig", near)
		if err != nil {
			return err
		}
		defer file.Close()
		k := exec.CommandContext(ctx, c.Bundle.File("kubectl"), args...)
		k.ExtraFiles = []*os.File{file}
		// The first file after standard error; and no proxy of this host's knows the cluster's network.
		k.Env = append(os.Environ(), "KUBECONFIG=/dev/fd/3", "NO_PROXY=*", "no_proxy=*")
		k.Stdin, k.Stdout, k.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		return k.Run()
	}))
}

// servedAt is a kubeconfig with the API at another address, which shows the same certificate.
func servedAt(kubeconfig []byte, server string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, c := range config.Clusters {
		c.Server = server
	}
	return clientcmd.Write(*config)
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

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/vault"
)

func checkName(what, name string) error {
	if theirs, ok := strings.CutPrefix(name, vault.ProviderPrefix); ok && what == "user" && theirs != "" {
		return nil
	}
	return checkOwnName(what, name)
}

// checkOwnName takes no name of the provider's.
func checkOwnName(what, name string) error {
	if !v1alpha1.UserName(name) || what == "user" && (name == "admin" || name == vault.Canary) {
		return phase.InputError{Err: fmt.Errorf("%q cannot be the name of a %s: small letters, digits, dots, dashes and underscores, and no name of Ashlar's own", name, what)}
	}
	return nil
}

func userCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Say who may log in, and in which groups they are",
		Long: `Say who may log in with a password, and in which groups they are. What a group may do is for RBAC: bind a Role or a
ClusterRole to it. Users are kept in Vault; changing them takes the unseal key, which only the operator has.`,
		Example: "  ashlar user set alice --group developers",
	}
	cmd.AddCommand(userSetCommand(r), userListCommand(r), userRemoveCommand(r),
		userSwitch(r, "disable", "Shut a user out, now and until enabled", true), userSwitch(r, "enable", "Let a user in again", false),
		robotSecretCommand(r), providerSecretCommand(r))
	return cmd
}

func userSetCommand(r *root) *cobra.Command {
	var groups []string
	var stdin bool
	cmd := &cobra.Command{
		Use:     "set NAME",
		Short:   "Make a user, or give one another password and other groups",
		Example: "  ashlar user set alice --group developers --group on-call",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOwnName("user", args[0]); err != nil {
				return err
			}
			for _, g := range groups {
				if err := checkName("group", g); err != nil {
					return err
				}
			}
			password, err := readSecret(cmd, "password", "password for "+args[0]+": ", stdin)
			if err != nil {
				return err
			}
			return r.withCluster(func(ctx context.Context, _ *cobra.Command, c *phase.Cluster, args []string) error {
				return c.WithPeople(ctx, func(v *vault.Client) error {
					if err := v.SetPerson(ctx, vault.Person{Name: args[0], Groups: groups}, password); err != nil {
						return err
					}
					return c.LetIn(ctx, args[0])
				})
			})(cmd, args)
		},
	}
	cmd.Flags().StringSliceVar(&groups, "group", nil, "a group of the user's, repeatable; replaces all earlier ones")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input, without asking")
	return cmd
}

func userListCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List users and their groups",
		Example: "  ashlar user list",
		Args:    noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			people := []vault.Person{}
			err := c.WithPeople(ctx, func(v *vault.Client) error {
				found, err := v.People(ctx)
				people = append(people, found...)
				return err
			})
			if err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, people, func(w io.Writer) error { return peopleTable(w, people) })
		}),
	}
}

func peopleTable(w io.Writer, people []vault.Person) error {
	var rows [][]string
	for _, p := range people {
		state := "may log in"
		if p.Disabled {
			state = "disabled"
		}
		rows = append(rows, []string{p.Name, strings.Join(p.Groups, ", "), ui.Mark(w, !p.Disabled, state)})
	}
	return ui.Rows(w, []string{"USER", "GROUPS", "STATE"}, rows)
}

func userRemoveCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Forget a user",
		Example: "  ashlar user remove alice",
		Args:    cobra.ExactArgs(1),
		RunE: r.withCluster(func(ctx context.Context, _ *cobra.Command, c *phase.Cluster, args []string) error {
			return c.WithPeople(ctx, func(v *vault.Client) error { return known(args[0], v.RemovePerson(ctx, args[0])) })
		}),
	}
}

func userSwitch(r *root, verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: "  ashlar user " + verb + " alice",
		Args:    cobra.ExactArgs(1),
		RunE: r.withCluster(func(ctx context.Context, _ *cobra.Command, c *phase.Cluster, args []string) error {
			return c.WithPeople(ctx, func(v *vault.Client) error {
				if !disabled {
					return known(args[0], c.Enable(ctx, v, args[0]))
				}
				return known(args[0], v.DisablePerson(ctx, args[0], true))
			})
		}),
	}
}

func robotSecretCommand(r *root) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "robot-secret NAME",
		Short: "Make a robot a secret to log in with, and print it",
		Long: `Make a robot of spec.authentication.robots a secret to log in with, and print it: once, for it is kept nowhere. It is good for
90 days, from the robot's own addresses. Earlier ones stay good, so that one can be exchanged for the other, unless
--replace destroys them.`,
		Example: "  ashlar user robot-secret deployer --replace",
		Args:    cobra.ExactArgs(1),
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			robots := c.Spec.Spec.Authentication.Robots
			if !slices.ContainsFunc(robots, func(r v1alpha1.Robot) bool { return r.Name == args[0] }) {
				return phase.InputError{Err: fmt.Errorf("there is no robot %q in spec.authentication.robots", args[0])}
			}
			return c.WithPeople(ctx, func(v *vault.Client) error {
				secret, err := v.RobotSecret(ctx, args[0], replace)
				if errors.Is(err, vault.ErrNotFound) {
					return fmt.Errorf("the robot is not in Vault yet: run `ashlar up` (%w)", err)
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
				return err
			})
		}),
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "destroy the robot's earlier secrets")
	return cmd
}

func providerSecretCommand(r *root) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "provider-secret",
		Short: "Give Vault the client secret for the company's identity provider",
		Long: `Give Vault the secret of its client at spec.authentication.identityProvider, or another one. Vault looks at once whether it
finds the provider, and never shows the secret again. When the file declares another provider or client, ` + "`ashlar up`" + `
forgets the secret, and ends the sessions of all who logged in there.`,
		Example: "  ashlar user provider-secret --secret-stdin < secret",
		Args:    noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			p := c.Spec.Spec.Authentication.IdentityProvider
			if p == nil {
				return phase.InputError{Err: errors.New("spec.authentication.identityProvider: there is none")}
			}
			secret, err := readSecret(cmd, "secret", "secret of client "+p.ClientID+": ", stdin)
			if err != nil {
				return err
			}
			return c.WithPeople(ctx, func(v *vault.Client) error { return v.SetProviderSecret(ctx, *p, secret) })
		}),
	}
	cmd.Flags().BoolVar(&stdin, "secret-stdin", false, "read the secret from standard input, without asking")
	return cmd
}

// known makes it the user's mistake to name somebody who is not there.
func known(name string, err error) error {
	if errors.Is(err, vault.ErrNotFound) {
		return phase.InputError{Err: fmt.Errorf("there is no user %q: `ashlar user list` lists them", name)}
	}
	return err
}

func loginCommand(r *root) *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login NAME | --provider",
		Short: "Log in, for `kubectl` to act as that user",
		Long: `Log in to Vault with a password, as a robot with its secret, or at the company's identity provider. Until the session ends, ` + "`ashlar kubectl --user NAME`" + ` and a kubeconfig made by
` + "`ashlar kubeconfig --user NAME`" + ` act as that user: each time they fetch a credential of ten minutes. Five wrong passwords
lock a user out for a quarter of an hour.

With --provider, print an address to open in a browser of this machine, and wait until it comes back. Who that is, the
provider says: to ` + "`ashlar kubectl --user`" + ` it is provider: and the name there.`,
		Example: `  ashlar login alice
  ashlar login deployer --robot --secret-stdin < secret
  ashlar login --provider`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.provider {
				return noArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return phase.InputError{Err: err}
			}
			if f.provider {
				return r.withCluster(logInProvider)(cmd, args)
			}
			check := checkOwnName
			if f.credential {
				check = checkName
			}
			if err := check("user", args[0]); err != nil {
				return err
			}
			return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
				if f.credential {
					return execCredential(ctx, cmd, c, args[0])
				}
				if f.robot {
					return logInRobot(ctx, cmd, c, args[0], f.secretStdin)
				}
				return logIn(ctx, cmd, c, args[0], f.passwordStdin)
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&f.robot, "robot", false, "as a robot of spec.authentication.robots")
	cmd.Flags().BoolVar(&f.secretStdin, "secret-stdin", false, "read the robot's secret from standard input, without asking")
	cmd.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input, without asking")
	cmd.Flags().BoolVar(&f.credential, "credential", false, "print a credential, as kubectl asks its plugins for")
	cmd.Flags().BoolVar(&f.provider, "provider", false, "at spec.authentication.identityProvider, by a browser")
	return cmd
}

// loginFlags are those of `ashlar login`.
type loginFlags struct{ provider, robot, credential, passwordStdin, secretStdin bool }

func (f loginFlags) check() error {
	switch {
	case f.robot && f.provider, f.credential && (f.robot || f.provider):
		return errors.New("--robot, --provider and --credential are three different things to do")
	case f.passwordStdin && (f.robot || f.provider):
		return errors.New("--password-stdin is for people that log in with a password")
	case f.secretStdin && !f.robot:
		return errors.New("--secret-stdin is for --robot")
	}
	return nil
}

func logIn(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, person string, stdin bool) error {
	password, err := readSecret(cmd, "password", "password: ", stdin)
	if err != nil {
		return err
	}
	until, err := c.Login(ctx, person, password)
	if err == nil {
		sayLogin(cmd, person, until)
	}
	return err
}

func logInRobot(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, robot string, stdin bool) error {
	secret, err := readSecret(cmd, "secret", "secret of "+robot+": ", stdin)
	if err != nil {
		return err
	}
	until, err := c.LoginRobot(ctx, robot, secret)
	if err == nil {
		sayLogin(cmd, robot, until)
	}
	return err
}

func logInProvider(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
	who, until, err := c.LoginProvider(ctx, func(address string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "open this in a browser of this machine, and log in there:\n\n%s\n\n", address)
	})
	if err == nil {
		sayLogin(cmd, who, until)
	}
	return err
}

func sayLogin(cmd *cobra.Command, who string, until time.Time) {
	fmt.Fprintf(cmd.ErrOrStderr(), "logged in as %s until %s\n", who, until.Format("15:04"))
}

// execCredential answers kubectl. Without a session it asks for the password, where there is somebody to ask.
func execCredential(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, person string) error {
	token, until, err := c.Identity(ctx, person)
	var none phase.NotLoggedIn
	if errors.As(err, &none) && none.ByPassword() && isTerminal(cmd.InOrStdin()) {
		if err := logIn(ctx, cmd, c, person, false); err != nil {
			return err
		}
		token, until, err = c.Identity(ctx, person)
	}
	if err != nil {
		return err
	}
	expires := metav1.NewTime(until)
	return json.NewEncoder(cmd.OutOrStdout()).Encode(clientauthentication.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: clientauthentication.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &clientauthentication.ExecCredentialStatus{Token: token, ExpirationTimestamp: &expires},
	})
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// readSecret asks on the terminal, without showing what is typed, or reads one line. What it is, is also its flag's name.
func readSecret(cmd *cobra.Command, what, prompt string, stdin bool) (string, error) {
	in := cmd.InOrStdin()
	if stdin {
		line, err := bufio.NewReader(in).ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", phase.InputError{Err: errors.Join(fmt.Errorf("there is no %s on standard input", what), ignoreEOF(err))}
		}
		return line, nil
	}
	if !isTerminal(in) {
		return "", phase.InputError{Err: fmt.Errorf("there is no terminal to ask for the %[1]s on: use --%[1]s-stdin", what)}
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	b, err := term.ReadPassword(int(in.(*os.File).Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil || len(b) == 0 {
		return "", phase.InputError{Err: errors.Join(fmt.Errorf("no %s was typed", what), err)}
	}
	return string(b), nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/webhook"
)

func tokenCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make static tokens, for what can do no better",
		Long: `Make static tokens, for what can do no better: one is always the same until it expires, and whoever has it is its user. A
token is taken only while the cluster's file declares it, and status and verify name it until it is removed there.`,
		Example: `  ashlar token new legacy-ci --user ci --reason "the old CI server speaks no OIDC"`,
	}
	cmd.AddCommand(tokenNewCommand(r))
	return cmd
}

// newToken is a token with what the file has to say about it.
type newToken struct {
	Token       string               `json:"token"`
	Declaration v1alpha1.StaticToken `json:"declaration"`
}

func tokenNewCommand(r *root) *cobra.Command {
	var user, reason string
	var groups []string
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token, and print what the cluster's file has to say about it",
		Long: `Make a token, and print it together with its declaration for spec.authentication.staticTokens. The token is printed once and
kept nowhere; the declaration holds its hash.`,
		Example: `  ashlar token new legacy-ci --user ci --group deployers --for 720h --reason "the old CI server speaks no OIDC"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if life <= 0 {
				return phase.InputError{Err: errors.New("--for must be more than 0")}
			}
			token := rand.Text() + rand.Text()
			t := newToken{token, v1alpha1.StaticToken{Name: args[0], User: user, Groups: groups, SHA256: webhook.Hash(token),
				Expires: metav1.NewTime(time.Now().Add(life).UTC().Truncate(time.Second)), Reason: reason}}
			if errs := v1alpha1.ValidateStaticToken(t.Declaration); len(errs) > 0 {
				return phase.InputError{Err: errs}
			}
			return ui.Write(cmd.OutOrStdout(), r.format, t, func(w io.Writer) error { return t.print(w) })
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "who presents it")
	cmd.Flags().StringSliceVar(&groups, "group", nil, "a group of the user's, repeatable")
	cmd.Flags().StringVar(&reason, "reason", "", "why nothing better will do")
	cmd.Flags().DurationVar(&life, "for", 30*24*time.Hour, "until it expires")
	return cmd
}

func (t newToken) print(w io.Writer) error {
	declaration, err := yaml.Marshal([]v1alpha1.StaticToken{t.Declaration})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n\nThis is shown once and kept nowhere. Declare it under spec.authentication.staticTokens, then run `ashlar up`:\n\n%s", t.Token, declaration)
	return err
}

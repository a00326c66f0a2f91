package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
)

func initCommand(r *root) *cobra.Command {
	var name, from, region string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented cluster.yaml",
		Long: `Write a cluster's file with every default and a comment each, to cluster.yaml or where -f says. A file that exists
is not touched.`,
		Example: `  ashlar init --name demo
  ashlar init --name staging -f staging.yaml
  ashlar init --name staging --provider aws --region eu-central-1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			content, means := v1alpha1.Template(name), "--name"
			switch {
			case from == "aws":
				content, means = v1alpha1.TemplateAWS(name, region), "--name and --region"
			case from != "local":
				return misused(cmd, fmt.Errorf("--provider must be local or aws, not %q", from))
			}
			if _, err := v1alpha1.Decode(content, means); err != nil {
				return err
			}
			f, err := os.OpenFile(r.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if errors.Is(err, os.ErrExist) {
				return phase.InputError{Err: fmt.Errorf("%s exists already; name another with -f", r.file)}
			}
			if err != nil {
				return err
			}
			_, err = f.Write(content)
			if e := f.Close(); err == nil {
				err = e
			}
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; next: ashlar up -f %s\n", r.file, r.file)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "demo", "the cluster's name")
	cmd.Flags().StringVar(&from, "provider", "local", "where machines come from: local or aws")
	cmd.Flags().StringVar(&region, "region", "eu-central-1", "the region of a cluster on AWS")
	return cmd
}

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/bundle"
	"ashlar.dev/ashlar/internal/ui"
)

func bundleCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{Use: "bundle", Short: "Build, check or find the cluster's software", Args: cobra.NoArgs}
	var source string
	build := &cobra.Command{
		Use:     "build",
		Short:   "Build all software of a cluster from its pinned modules",
		Example: "  ashlar bundle build --source .",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := bundle.CacheDir()
			if err != nil {
				return err
			}
			b, err := bundle.Build(cmd.Context(), bundle.Options{Source: source, Cache: cache, Progress: func(e bundle.Event) {
				if e.Component != "" && e.State != bundle.Cached {
					fmt.Fprintf(cmd.ErrOrStderr(), "%-12s %-8s %8.1fs %s\n", e.Component, e.State, e.Took.Seconds(), e.Why)
				}
			}})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), b.Dir)
			return nil
		},
	}
	build.Flags().StringVar(&source, "source", ".", "the repository")
	open := func() (*bundle.Bundle, error) {
		dir, err := bundle.Locate(r.options.Bundle)
		if err != nil {
			return nil, inputError{err}
		}
		return bundle.Open(dir)
	}
	path := &cobra.Command{
		Use:   "path",
		Short: "Print the bundle's directory",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := open()
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), b.Dir)
			}
			return err
		},
	}
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Read every file of the bundle and name those that are not as its manifest says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := open()
			if err != nil {
				return err
			}
			if err := b.Verify(cmd.Context()); err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, b.Manifest, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %d files are as the manifest says\n", b.Digest, len(b.Manifest.Files))
				return err
			})
		},
	}
	cmd.AddCommand(build, path, verify)
	return cmd
}

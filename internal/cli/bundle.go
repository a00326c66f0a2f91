package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/bundle"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func bundleCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Build, check or find the cluster's software",
		Long: `All software of a cluster is one directory, the bundle. It is built from Go modules whose versions and checksums are
pinned, and has its digest for a name. Commands use --bundle, else $ASHLAR_BUNDLE, else the newest that was built here.`,
		Example: `  ashlar bundle build --source .
  ashlar bundle verify`,
	}
	var source string
	build := &cobra.Command{
		Use:   "build",
		Short: "Build all software of a cluster from its pinned modules",
		Long: `Build all software of a cluster from its pinned modules, and print the bundle's directory. What is built already is
taken from the cache: $ASHLAR_CACHE, else /var/cache/ashlar. The first build takes about fifteen minutes on two cores.`,
		Example: "  ashlar bundle build --source .",
		Args:    noArgs,
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
	must(build.MarkFlagDirname("source"))
	open := func() (*bundle.Bundle, error) {
		dir, err := bundle.Locate(r.options.Bundle)
		if err != nil {
			return nil, phase.InputError{Err: err}
		}
		return bundle.Open(dir)
	}
	path := &cobra.Command{
		Use:     "path",
		Short:   "Print the bundle's directory",
		Example: "  ashlar bundle path",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := open()
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), b.Dir)
			}
			return err
		},
	}
	verify := &cobra.Command{
		Use:     "verify",
		Short:   "Read every file of the bundle and name those that are not as its manifest says",
		Example: "  ashlar bundle verify -o json",
		Args:    noArgs,
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
	archive := &cobra.Command{
		Use:   "archive",
		Short: "Make the one file that machines fetch, and print its digest",
		Long: `Make the one file that machines in a cloud fetch, or find the one that was made before, and print where it is and its digest.
It holds what machines need of the bundle. The same bundle gives the same file, so that its digest is as good as the bundle's.`,
		Example: "  ashlar bundle archive",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := open()
			if err != nil {
				return err
			}
			a, err := b.Archive(cmd.Context())
			if err != nil {
				return err
			}
			return ui.Write(cmd.OutOrStdout(), r.format, a, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s  %s  %d MiB\n", a.Digest, a.File, a.Size>>20)
				return err
			})
		},
	}
	cmd.AddCommand(build, path, verify, archive)
	return cmd
}

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/escape"
)

// escapeCommand tries to get out of the container that it runs in.
func escapeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "escape",
		Short: "Try what is known to lead out of a container, without going, and report as JSON",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inside := claim.Inside{Escapes: escape.Try()}
			status, err := os.ReadFile("/proc/self/status")
			if err != nil {
				return err
			}
			users, err := os.ReadFile("/proc/self/uid_map")
			if err != nil {
				return err
			}
			inside.Status, inside.Users = string(status), strings.Join(strings.Fields(string(users)), " ")
			inside.Tokens, err = filepath.Glob("/var/run/secrets/kubernetes.io/serviceaccount/*")
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(inside)
		},
	}
}

// linkCommand makes a symbolic link: images have no other program that could.
func linkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "link TARGET PATH",
		Short: "Make a symbolic link",
		Args:  cobra.ExactArgs(2),
		RunE:  func(_ *cobra.Command, args []string) error { return os.Symlink(args[0], args[1]) },
	}
}

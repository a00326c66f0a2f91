package audit

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/provider"
)

// Search returns the lines of a log, and of its older parts, that have one of the texts, from all machines together: a request is
// recorded by the server that worked on it. It greps on the machines, for logs are long. The texts may be secrets, and
// are not shown as arguments. A machine that has no such log has no lines.
func Search(ctx context.Context, p provider.Provider, machines []string, file string, texts ...string) ([]byte, error) {
	found := make([][]byte, len(machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range machines {
		g.Go(func() error {
			var out, problems bytes.Buffer
			err := p.Exec(ctx, m, provider.Exec{
				Args:  []string{"sh", "-c", `ls "$0"* >/dev/null 2>&1 || exit 0; LC_ALL=C grep -hF -f - "$0"* || test $? = 1`, file},
				Stdin: strings.NewReader(strings.Join(texts, "\n")), Stdout: &out, Stderr: &problems,
			})
			if err != nil {
				return fmt.Errorf("search %s of %s: %w: %s", file, m, err, strings.TrimSpace(problems.String()))
			}
			found[i] = out.Bytes()
			return nil
		})
	}
	err := g.Wait()
	return bytes.Join(found, nil), err
}

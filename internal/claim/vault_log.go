package claim

import (
	"bytes"
	"context"

	"ashlar.dev/ashlar/internal/audit"
)

// logged is a line of Vault's audit log that says what came of a request.
type logged = audit.Line

// vaultLog returns the answers in an audit log that have a text in their line, of all servers.
func (t *Target) vaultLog(ctx context.Context, file string, texts ...string) ([]logged, error) {
	lines, err := t.vaultLogLines(ctx, file, texts...)
	return answers(lines), err
}

func (t *Target) vaultLogLines(ctx context.Context, file string, texts ...string) ([]byte, error) {
	return audit.Search(ctx, t.Provider, audit.Vaults(t.Desired.Machines), file, texts...)
}

// answers reads the lines of a log that say what came of a request.
func answers(lines []byte) []logged {
	var out []logged
	for line := range bytes.Lines(lines) {
		if l, ok := audit.Parse(line); ok && l.Type == "response" {
			out = append(out, l)
		}
	}
	return out
}

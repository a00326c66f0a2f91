package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// logged is what matters of a line of Vault's audit log. Values that could be secret are hashed in it.
type logged struct {
	Time  time.Time
	Type  string // request or response
	Error string
	Auth  struct {
		Metadata map[string]string
		Policies []string
	}
	Request struct {
		Operation, Path string
		RemoteAddress   string `json:"remote_address"`
		Data            struct {
			// Other engines put anything here.
			Serial any `json:"serial_number"`
		}
	}
	Response struct {
		Data struct {
			Serial any `json:"serial_number"`
		}
	}
}

// machine is whose token it was; of a login, whose it became.
func (l logged) machine() string { return l.Auth.Metadata["role_name"] }

// serial is the number of the certificate that was issued or revoked, in hexadecimal, or empty.
func (l logged) serial() string {
	for _, v := range []any{l.Response.Data.Serial, l.Request.Data.Serial} {
		if s, ok := v.(string); ok && !strings.HasPrefix(s, "hmac-") {
			return plainSerial(s)
		}
	}
	return ""
}

// plainSerial writes a serial number of Vault's (bytes with colons between) as big.Int does.
func plainSerial(s string) string {
	return strings.TrimLeft(strings.NewReplacer(":", "", "-", "").Replace(s), "0")
}

// vaultLog returns the answers in an audit log that have a text in their line. A request is recorded by the server that
// worked on it, so the log is that of all servers together.
func (t *Target) vaultLog(ctx context.Context, file string, texts ...string) ([]logged, error) {
	lines, err := t.vaultLogLines(ctx, file, texts...)
	return answers(lines), err
}

// vaultLogLines greps on the machines, also in older parts: logs are long. The texts may be secrets, and are not shown as arguments.
func (t *Target) vaultLogLines(ctx context.Context, file string, texts ...string) ([]byte, error) {
	var all []byte
	for _, m := range t.Desired.WithRole(v1alpha1.RoleVault) {
		var out, problems bytes.Buffer
		err := t.Provider.Exec(ctx, m.Name, provider.Exec{
			Args:  []string{"sh", "-c", `ls "$0"* >/dev/null 2>&1 || exit 0; grep -hF -f - "$0"* || test $? = 1`, file},
			Stdin: strings.NewReader(strings.Join(texts, "\n")), Stdout: &out, Stderr: &problems,
		})
		if err != nil {
			return nil, fmt.Errorf("search %s of %s: %w: %s", file, m.Name, err, strings.TrimSpace(problems.String()))
		}
		all = append(all, out.Bytes()...)
	}
	return all, nil
}

// answers reads the lines of a log that say what came of a request.
func answers(lines []byte) []logged {
	var out []logged
	for line := range bytes.Lines(lines) {
		var l logged
		if json.Unmarshal(line, &l) == nil && l.Type == "response" {
			out = append(out, l)
		}
	}
	return out
}

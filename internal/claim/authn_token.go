package claim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/webhook"
)

// probeToken presents static tokens: made-up ones of every form there is, and those that an API server was given.
func probeToken(ctx context.Context, t *Target) ([]Evidence, error) {
	tokens := map[string]string{
		"a made-up token":            rand.Text(),
		"a made-up bootstrap token":  strings.ToLower(rand.Text()[:6] + "." + rand.Text()[:16]),
		"a token that is a username": "admin",
	}
	var out []Evidence
	for _, d := range webhook.Tokens(t.Spec.Spec.Authentication.StaticTokens, nil) {
		out = append(out, Evidence{Attempt: "find a declared token", Want: Allowed, Got: Allowed, Answer: d.Describe(t.Now()), Notice: true})
	}
	for _, m := range t.Desired.WithRole(v1alpha1.RoleControlPlane) {
		found, err := t.tokenFiles(ctx, m.Name)
		if err != nil {
			return nil, err
		}
		for what, token := range found {
			tokens[what] = token
		}
		taken, err := t.takenTokens(ctx, m.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, taken...)
	}
	for _, what := range slices.Sorted(maps.Keys(tokens)) {
		config := rest.AnonymousClientConfig(t.Admin)
		config.BearerToken = tokens[what]
		who, err := knownFor(ctx, config)
		if err != nil && !apierrors.IsUnauthorized(err) {
			return nil, fmt.Errorf("present %s: %w", what, err)
		}
		e := attempt("present "+what, provider.FromOperator, "nobody", Refused, err)
		if err == nil {
			e.Answer = "the API takes the bearer for " + who.Username
		}
		out = append(out, e)
	}
	return out, nil
}

// takenTokens looks on a machine for hashes of tokens that its API server takes although the cluster's file does not say
// so: in what the webhook goes by, and among those for when Vault is gone.
func (t *Target) takenTokens(ctx context.Context, machine string) ([]Evidence, error) {
	var access unit.Access
	var left []webhook.BreakGlass
	for path, into := range map[string]any{unit.AccessFile: &access, unit.BreakGlassFile: &left} {
		b, err := t.Provider.Read(ctx, machine, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", path, machine, err)
		}
	}
	undeclared := slices.DeleteFunc(access.StaticTokens, func(have v1alpha1.StaticToken) bool {
		return slices.ContainsFunc(t.Spec.Spec.Authentication.StaticTokens, func(d v1alpha1.StaticToken) bool { return d.SHA256 == have.SHA256 })
	})
	e := Evidence{Attempt: "find a token that is not declared", From: machine, Want: Refused, Got: Refused, Answer: "none"}
	for _, token := range webhook.Tokens(undeclared, left) {
		if t.Now().Before(token.Expires) {
			e.Got, e.Answer = Allowed, token.Describe(t.Now())
		}
	}
	return []Evidence{e}, nil
}

// tokenFiles are the tokens in the files that the API servers of a machine run with.
func (t *Target) tokenFiles(ctx context.Context, machine string) (map[string]string, error) {
	const script = `for p in /proc/[0-9]*; do
  tr '\0' '\n' < $p/cmdline 2>/dev/null | grep -q '/kube-apiserver$' || continue
  tr '\0' '\n' < $p/cmdline | sed -n 's/^--token-auth-file=//p'
done`
	files, err := run(ctx, t, machine, "bash", "-c", script)
	if err != nil {
		return nil, fmt.Errorf("look for token files on %s: %w", machine, err)
	}
	tokens := map[string]string{}
	for _, file := range strings.Fields(string(files)) {
		content, err := t.Provider.Read(ctx, machine, file)
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", file, machine, err)
		}
		r := csv.NewReader(bytes.NewReader(content))
		r.FieldsPerRecord = -1
		lines, err := r.ReadAll()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", file, machine, err)
		}
		for i, line := range lines {
			tokens[fmt.Sprintf("the token of line %d of %s of %s", i+1, file, machine)] = line[0]
		}
	}
	return tokens, nil
}

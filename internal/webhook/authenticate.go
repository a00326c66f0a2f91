package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// BreakGlass is a token that an operator made while Vault was gone: whoever can write it to a control-plane machine's disk
// has the cluster already.
type BreakGlass struct {
	SHA256  string    `json:"sha256"`
	Expires time.Time `json:"expires"`
	// Reason is what the operator gave; it is in the audit log with each request.
	Reason string `json:"reason"`
}

// Token is somebody's static token, as its hash.
type Token struct {
	Name, User, SHA256, Reason string
	Groups                     []string
	Expires                    time.Time
}

// extraToken is where the audit log has a token's name, extraReason what it is for.
const (
	extraToken  = "ashlar.dev/static-token"
	extraReason = "ashlar.dev/reason"
)

// Tokens are all that the webhook takes.
func Tokens(declared []v1alpha1.StaticToken, breakGlass []BreakGlass) []Token {
	var out []Token
	for _, t := range declared {
		out = append(out, Token{Name: t.Name, User: t.User, Groups: t.Groups, SHA256: t.SHA256, Expires: t.Expires.Time, Reason: t.Reason})
	}
	for _, t := range breakGlass {
		out = append(out, Token{Name: "break-glass", User: unit.UserBreakGlass, Groups: []string{unit.GroupAdmins}, SHA256: t.SHA256,
			Expires: t.Expires, Reason: t.Reason})
	}
	return out
}

// Describe is the token in a line, for people.
func (t Token) Describe(now time.Time) string {
	until := "until"
	if !now.Before(t.Expires) {
		until = "expired"
	}
	return fmt.Sprintf("static token %s of user %s, %s %s: %s", t.Name, t.User, until, t.Expires.UTC().Format(time.RFC3339), t.Reason)
}

// Hash is what is kept of a token.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// authenticate says whose a token is. Hashes may be compared by their first difference: to make one on purpose takes the
// token.
func authenticate(token string, tokens []Token, now time.Time) authenticationv1.TokenReviewStatus {
	hash := Hash(token)
	for _, t := range tokens {
		if t.SHA256 != hash {
			continue
		}
		if !now.Before(t.Expires) {
			return authenticationv1.TokenReviewStatus{Error: "the static token " + t.Name + " expired " + t.Expires.UTC().Format(time.RFC3339)}
		}
		return authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
			Username: t.User, Groups: t.Groups,
			Extra: map[string]authenticationv1.ExtraValue{extraToken: {t.Name}, extraReason: {t.Reason}},
		}}
	}
	return authenticationv1.TokenReviewStatus{}
}

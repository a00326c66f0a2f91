package webhook

import (
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"ashlar.dev/ashlar/internal/unit"
)

// extraCredential is where API servers say by what somebody was known.
const extraCredential = "authentication.kubernetes.io/credential-id"

// deny refuses a credential that was revoked, and anything of a user whose credentials were. It never allows.
func deny(q authorizationv1.SubjectAccessReviewSpec, revoked []unit.Revocation, now time.Time) authorizationv1.SubjectAccessReviewStatus {
	for _, r := range revoked {
		known := r.SHA256 != "" && slices.Contains(q.Extra[extraCredential], unit.CredentialPrefix+r.SHA256)
		if (known || r.User != "" && r.User == q.User) && now.Before(r.Until) {
			return authorizationv1.SubjectAccessReviewStatus{Denied: true, Reason: unit.RevokedReason + " at " + r.At.UTC().Format(time.RFC3339)}
		}
	}
	return authorizationv1.SubjectAccessReviewStatus{}
}

package claim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// tokenLimit is how long a pod's token may live; clocks and roundings get a few seconds.
const tokenLimit = time.Hour + 5*time.Second

// probeServiceAccount mints a pod's token, uses it, and misuses it in every way.
func probeServiceAccount(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	ns, remove, err := scratch(ctx, admin, "ashlar-verify-token-")
	if err != nil {
		return nil, err
	}
	defer remove()
	pod, err := podWithAccount(ctx, admin, ns, "probe", "")
	if err != nil {
		return nil, err
	}
	legacy, err := legacyTokens(ctx, admin, ns)
	if err != nil {
		return nil, err
	}
	tokens, err := tokenEvidence(ctx, t, admin, pod)
	return append(legacy, tokens...), err
}

func tokenEvidence(ctx context.Context, t *Target, admin kubernetes.Interface, pod *corev1.Pod) ([]Evidence, error) {
	const as = "a pod's ServiceAccount"
	token, err := mint(ctx, admin, pod, 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("mint a token bound to a pod: %w", err)
	}
	// API servers remember a token that they have authenticated for up to 10 seconds: these they see for the first time
	// when their pod is gone.
	var unused []string
	for range 5 {
		token, err := mint(ctx, admin, pod, 10*time.Minute)
		if err != nil {
			return nil, fmt.Errorf("mint another token bound to a pod: %w", err)
		}
		unused = append(unused, token)
	}
	stray, err := mint(ctx, admin, pod, 10*time.Minute, "https://elsewhere.example")
	if err != nil {
		return nil, fmt.Errorf("mint a token for another audience: %w", err)
	}
	payload, err := claimsOf(token)
	if err != nil {
		return nil, err
	}
	evidence := []Evidence{
		attempt("have a token that outlives the hour", "", as, Refused, tooLong(payload, t.Now())),
		attempt("have a token that is bound to no pod", "", as, Refused, boundTo(payload, string(pod.UID))),
	}
	try := func(what, token string, want Expectation) error {
		err := whoami(ctx, t, token)
		if err != nil && !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		evidence = append(evidence, attempt(what, "operator", as, want, err))
		return nil
	}
	for _, c := range []struct {
		what, token string
		want        Expectation
	}{
		{"use a token", token, Allowed},
		{"use a token for another audience", stray, Refused},
		{"use a token whose signature was altered", tampered(token), Refused},
		{"use a token with another subject under the same signature", renamed(token), Refused},
		{"use a token that says alg: none", unsigned(token), Refused},
	} {
		if err := try(c.what, c.token, c.want); err != nil {
			return nil, err
		}
	}
	if err := admin.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		return nil, fmt.Errorf("delete the probe's pod: %w", err)
	}
	// Each API server hears of it through a watch of its own.
	for len(unused) > 1 && whoami(ctx, t, unused[0]) == nil && ctx.Err() == nil {
		unused = unused[1:]
		time.Sleep(200 * time.Millisecond)
	}
	return evidence, try("use the token of a pod that is gone", unused[0], Refused)
}

// whoami asks the API who the bearer of a token is.
func whoami(ctx context.Context, t *Target, token string) error {
	config := rest.AnonymousClientConfig(t.Admin)
	config.BearerToken = token
	_, err := knownFor(ctx, config)
	return err
}

func mint(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, life time.Duration, audiences ...string) (string, error) {
	seconds := int64(life / time.Second)
	r, err := c.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, Audiences: audiences,
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return r.Status.Token, nil
}

// legacyTokens looks for tokens in Secrets, and tries to make one.
func legacyTokens(ctx context.Context, admin kubernetes.Interface, ns string) ([]Evidence, error) {
	selector := "type=" + string(corev1.SecretTypeServiceAccountToken)
	list, err := admin.CoreV1().Secrets("").List(ctx, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("look for long-lived tokens: %w", err)
	}
	found := Evidence{Attempt: "find a long-lived token", From: "operator", As: "admin", Want: Refused, Got: Refused, Answer: "there is none"}
	if len(list.Items) > 0 {
		found.Got, found.Answer = Allowed, fmt.Sprintf("Secret %s/%s", list.Items[0].Namespace, list.Items[0].Name)
	}
	_, err = admin.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "long-lived", Annotations: map[string]string{corev1.ServiceAccountNameKey: "probe"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("try to make a long-lived token: %w", err)
	}
	return []Evidence{found, attempt("make a long-lived token", "operator", "admin", Refused, err)}, nil
}

// tokenClaims is what matters of a token's payload.
type tokenClaims struct {
	Issued     int64    `json:"iat"`
	Expires    int64    `json:"exp"`
	Audience   audience `json:"aud"`
	Kubernetes struct {
		Pod struct {
			UID string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// audience is one name or several (RFC 7519, 4.1.3).
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func claimsOf(token string) (tokenClaims, error) {
	var out tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return out, fmt.Errorf("a token has %d parts", len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return out, fmt.Errorf("decode a token: %w", err)
	}
	return out, json.Unmarshal(b, &out)
}

// tooLong is nil if the token outlives the limit: then the attack succeeded.
func tooLong(c tokenClaims, now time.Time) error {
	if c.Expires == 0 || time.Unix(c.Expires, 0).Sub(now) > tokenLimit || c.Expires-c.Issued > int64(tokenLimit/time.Second) {
		return nil
	}
	return fmt.Errorf("24 h were asked for, %s were given", time.Duration(c.Expires-c.Issued)*time.Second)
}

// boundTo is nil unless the token is bound to the pod.
func boundTo(c tokenClaims, uid string) error {
	if c.Kubernetes.Pod.UID != uid || uid == "" {
		return nil
	}
	return fmt.Errorf("it is bound to pod %s, for %s", uid, strings.Join(c.Audience, ", "))
}

// tampered flips one bit in the middle of the signature.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sig[len(sig)/2] ^= 1
	return parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// renamed keeps header and signature, and claims to be a controller.
func renamed(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	payload = []byte(strings.Replace(string(payload), ":probe\"", ":default\"", 1))
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
}

func unsigned(token string) string {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	return header + "." + strings.Split(token, ".")[1] + "."
}

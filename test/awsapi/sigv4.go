package awsapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// authenticate checks the signature of a request, and returns the service that it is for.
func (c *Cloud) authenticate(r *http.Request) (service string, body []byte, p *problem) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<30))
	if err != nil {
		return "", nil, invalid("IncompleteBody", "%v", err)
	}
	a, ok := parseAuthorization(r.Header.Get("Authorization"))
	if !ok {
		return "", body, refusal("MissingAuthenticationToken", "the request is not signed")
	}
	secret, known := c.Keys[a.key]
	if !known {
		return a.service, body, refusal("InvalidClientTokenId", "no such access key")
	}
	if a.region != c.Region {
		return a.service, body, refusal("SignatureDoesNotMatch", "signed for region %s, this is %s", a.region, c.Region)
	}
	when := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", when)
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return a.service, body, refusal("RequestExpired", "signed at %q", when)
	}
	request := canonicalRequest(r, a.headers, body)
	if said := r.Header.Get("X-Amz-Content-Sha256"); said == "UNSIGNED-PAYLOAD" { // of S3
		request = strings.TrimSuffix(request, digest(body)) + said
	}
	if !hmac.Equal([]byte(a.signature), []byte(a.sign(secret, when, request))) {
		return a.service, body, refusal("SignatureDoesNotMatch", "the signature is not of this request")
	}
	return a.service, body, nil
}

// authorization is what the header of a signed request says.
type authorization struct {
	key, date, region, service string
	headers                    []string
	signature                  string
}

func parseAuthorization(header string) (a authorization, ok bool) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return a, false
			}
			a.key, a.date, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			a.headers = strings.Split(value, ";")
		case "Signature":
			a.signature = value
		}
	}
	return a, ok && a.key != "" && slices.Contains(a.headers, "host") && slices.Contains(a.headers, "x-amz-date")
}

func (a authorization) sign(secret, when, request string) string {
	key := []byte("AWS4" + secret)
	for _, part := range []string{a.date, a.region, a.service, "aws4_request"} {
		key = mac(key, part)
	}
	scope := strings.Join([]string{a.date, a.region, a.service, "aws4_request"}, "/")
	return hex.EncodeToString(mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", when, scope, digest([]byte(request))}, "\n")))
}

func canonicalRequest(r *http.Request, headers []string, body []byte) string {
	var b bytes.Buffer
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + digest(body))
	return b.String()
}

func canonicalQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Package identity is how a machine proves which one it is, where it is not given an init token: a file for each method.
package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// AWS is the method by which an instance of EC2 shows the document that says which one it is, signed by AWS in its region.
const AWS = "aws"

// Metadata is where every instance finds its metadata service.
const Metadata = "http://169.254.169.254"

// documentPath is where the service has the document within its signature (PKCS #7), by a key of 2,048 bits: the other two that
// it offers are by DSA, and by RSA of 1,024 bits.
const documentPath = "dynamic/instance-identity/rsa2048"

// documentTimeout limits the two questions, which the instance's own host answers.
const documentTimeout = 6 * time.Second

// direct asks through no proxy and keeps no connection: the packets of a token's connection go no further than they must.
var direct = &http.Client{Timeout: documentTimeout / 2, Transport: &http.Transport{DisableKeepAlives: true}}

// Document reads the instance's signed identity document from its metadata service (version 2 alone), as base64. It is no
// secret, and good for one login.
func Document(ctx context.Context, service string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	token, err := session(ctx, service)
	if err != nil {
		return "", err
	}
	text, err := ask(ctx, service, documentPath, token)
	if err != nil {
		return "", fmt.Errorf("ask the instance's metadata service which instance this is: %w", err)
	}
	document := strings.Join(strings.Fields(text), "")
	if document == "" {
		return "", errors.New("the instance's metadata service has an empty identity document: is this an instance of EC2?")
	}
	return document, nil
}

// session is a token, which every question needs.
func session(ctx context.Context, service string) (string, error) {
	token, err := question(ctx, http.MethodPut, service+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return "", fmt.Errorf("begin a session with the instance's metadata service: %w", err)
	}
	return token, nil
}

func ask(ctx context.Context, service, path, token string) (string, error) {
	return question(ctx, http.MethodGet, service+"/latest/"+path, "X-aws-ec2-metadata-token", token)
}

// errNone says that the service has no such thing.
var errNone = errors.New("it has no such thing: what answers there is not EC2's: 404")

func question(ctx context.Context, method, url, header, value string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set(header, value)
	res, err := direct.Do(req)
	if err != nil {
		return "", fmt.Errorf("no answer comes back: this is no instance of EC2; or the answer has further to go than the instance's hop limit "+
			"lets it, as from within a container (http_put_response_hop_limit); or the service is off (http_endpoint): %w", err)
	}
	defer res.Body.Close() // only read
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	switch res.StatusCode {
	case http.StatusOK:
		return string(b), err
	case http.StatusForbidden:
		return "", errors.New("it is off for this instance (http_endpoint), or a proxy stands in between: 403")
	case http.StatusUnauthorized:
		return "", errors.New("it does not take its own token: something between it and this machine changes requests: 401")
	case http.StatusNotFound:
		return "", errNone
	}
	return "", fmt.Errorf("it answers %s", res.Status)
}

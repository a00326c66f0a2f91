package bucket

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ashlar.dev/ashlar/test/awsapi"
)

const region = "eu-west-1"

// dial is a client with a key, of a stand-in for S3.
func dial(t *testing.T, o *awsapi.Objects, k awsapi.Key) *Client {
	t.Helper()
	s := httptest.NewTLSServer(o)
	t.Cleanup(s.Close)
	return New(region, aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}, nil
	}), &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the names are S3's
	})
}

// What is put can be got, by who has the key and nobody else; what is not there is told from what may not be read.
func TestObjects(t *testing.T) {
	k := awsapi.Key{ID: "ASIA1", Secret: "a/secret+", Token: "a token"}
	o := awsapi.NewObjects(region, k)
	c := dial(t, o, k)
	l, err := Parse("s3://demo-bundle/demo/vault-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), l); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), l.String()) {
		t.Errorf("what is not there: %v", err)
	}
	beside := l.Beside("vault/vault-0.pem")
	if err := c.Put(t.Context(), beside, []byte("a certificate")); err != nil {
		t.Fatal(err)
	}
	if got, _ := o.Get("demo-bundle/demo/vault/vault-0.pem"); string(got) != "a certificate" {
		t.Errorf("the bucket has %q", got)
	}
	if got, err := c.Get(t.Context(), beside); err != nil || string(got) != "a certificate" {
		t.Errorf("%q, %v", got, err)
	}
	k.Secret = "another"
	if _, err := dial(t, o, k).Get(t.Context(), beside); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with another secret: %v", err)
	}
	k.ID = "ASIA2"
	if err := dial(t, o, k).Put(t.Context(), beside, nil); err == nil || !strings.Contains(err.Error(), "InvalidAccessKeyId") {
		t.Errorf("with another key: %v", err)
	}
	o.Put("demo-bundle/large", make([]byte, small+1))
	if _, err := c.Get(t.Context(), Location{"demo-bundle", "large"}); err == nil {
		t.Error("an object of any size is read into memory")
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "s3://", "s3://b", "s3://b/", "s3:///k", "https://b/k", "b/k"} {
		if l, err := Parse(bad); err == nil {
			t.Errorf("%q: %v", bad, l)
		}
	}
}

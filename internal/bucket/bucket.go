// Package bucket reads and writes objects of S3, named as s3://<bucket>/<key>.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Location is where an object is.
type Location struct{ Bucket, Key string }

func (l Location) String() string { return "s3://" + l.Bucket + "/" + l.Key }

// Beside is an object in the same directory, if one reads slashes so.
func (l Location) Beside(name string) Location {
	return Location{l.Bucket, path.Join(path.Dir(l.Key), name)}
}

// Parse reads s3://<bucket>/<key>.
func Parse(url string) (Location, error) {
	rest, ok := strings.CutPrefix(url, "s3://")
	name, key, cut := strings.Cut(rest, "/")
	if !ok || !cut || name == "" || key == "" {
		return Location{}, fmt.Errorf("%q is no s3://<bucket>/<key>", url)
	}
	return Location{name, key}, nil
}

// Client reads and writes with somebody's credentials.
type Client struct{ s3 *s3.Client }

// timeout limits a request for a small object, with its retries.
const timeout = 20 * time.Second

// New returns a client for a region, which connects by a transport (nil: http.DefaultTransport). Nothing is taken from the
// environment.
func New(region string, credentials aws.CredentialsProvider, by http.RoundTripper) *Client {
	return &Client{s3.New(s3.Options{Region: region, Credentials: aws.NewCredentialsCache(credentials), HTTPClient: &http.Client{Transport: by}, RetryMaxAttempts: 2,
		// TLS sees to it that nothing is changed on the way.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired})}
}

// small is more than any object has that is read as a whole.
const small = 1 << 20

// Get returns a small object; fs.ErrNotExist if there is none.
func (c *Client) Get(ctx context.Context, l Location) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &l.Bucket, Key: &l.Key})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", l, plain(err))
	}
	defer out.Body.Close() // only read
	b, err := io.ReadAll(io.LimitReader(out.Body, small+1))
	if err == nil && len(b) > small {
		err = errors.New("it is larger than any that belongs there")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", l, err)
	}
	return b, nil
}

// Put makes or replaces a small object.
func (c *Client) Put(ctx context.Context, l Location, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &l.Bucket, Key: &l.Key, Body: bytes.NewReader(content)}); err != nil {
		return fmt.Errorf("put %s: %w", l, plain(err))
	}
	return nil
}

// plain is AWS's code and message, and fs.ErrNotExist where it says that. Who may not list a bucket hears of a missing
// object that access is denied.
func plain(err error) error {
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return fmt.Errorf("%w in the bucket", fs.ErrNotExist)
	}
	if errors.As(err, &api) {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}

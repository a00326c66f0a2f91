package aws

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// publish puts the software where machines fetch it, unless it is there: they try until it is. A caller holds mu.
func (p *Provider) publish(ctx context.Context) error {
	archive, err := p.Archive(ctx)
	if err != nil {
		return err
	}
	bucket, err := p.bucket(ctx, "bundle")
	if err != nil {
		return err
	}
	config, err := p.aws(ctx)
	if err != nil {
		return err
	}
	c, key := s3.NewFromConfig(config), BundleKey(archive.Digest)
	_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	var none *s3types.NotFound
	if err == nil {
		return nil
	}
	if !errors.As(err, &none) {
		return fmt.Errorf("look for the software at s3://%s/%s: %w", bucket, key, err)
	}
	f, err := os.Open(archive.File)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: f}); err != nil {
		return fmt.Errorf("put the software at s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}

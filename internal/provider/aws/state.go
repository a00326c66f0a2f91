package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// The state is in a bucket that is locked while somebody works on it, keeps old versions, and is encrypted with a key of KMS. Both have to
// be there before OpenTofu can begin, and after it has removed all else, so they are in no state themselves: here they are made and removed.

// stateKey is where in its bucket the state of a cluster is.
func (p *Provider) stateKey() string { return p.name() + "/terraform.tfstate" }

func (p *Provider) stateAlias() string { return "alias/" + p.name() + "-state" }

// ownState says whether the bucket is Ashlar's to make.
func (p *Provider) ownState() bool { return p.Cluster.Spec.Provider.AWS.StateBucket == "" }

// whoAmI is the account that the operator's credentials are for. A caller holds mu.
func (p *Provider) whoAmI(ctx context.Context) (string, error) {
	if p.account != "" {
		return p.account, nil
	}
	c, err := p.aws(ctx)
	if err != nil {
		return "", err
	}
	id, err := sts.NewFromConfig(c).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask AWS who it is that asks: %w; log in, as by `aws sso login`, or set AWS_PROFILE", err)
	}
	p.account = aws.ToString(id.Account)
	return p.account, nil
}

// bucket names a bucket of the cluster's: of an account, since names of buckets are the world's. A caller holds mu.
func (p *Provider) bucket(ctx context.Context, kind string) (string, error) {
	if kind == "state" && !p.ownState() {
		return p.Cluster.Spec.Provider.AWS.StateBucket, nil
	}
	account, err := p.whoAmI(ctx)
	return fmt.Sprintf("%s-%s-%s", p.name(), account, kind), err
}

// hasState says whether there is a bucket for the state. A caller holds mu.
func (p *Provider) hasState(ctx context.Context) (bool, error) {
	bucket, err := p.bucket(ctx, "state")
	if err != nil {
		return false, err
	}
	c, err := p.aws(ctx)
	if err != nil {
		return false, err
	}
	_, err = s3.NewFromConfig(c).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	var none *s3types.NotFound
	switch {
	case errors.As(err, &none) && !p.ownState():
		return false, fmt.Errorf("spec.provider.aws.stateBucket: there is no bucket %s: make it, versioned and encrypted by KMS, or leave it out", bucket)
	case errors.As(err, &none):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for the state in bucket %s: %w", bucket, err)
	}
	return true, nil
}

// makeState makes the bucket and its key, or finishes what an earlier one began. A caller holds mu.
func (p *Provider) makeState(ctx context.Context) error {
	if !p.ownState() {
		_, err := p.hasState(ctx)
		return err
	}
	bucket, err := p.bucket(ctx, "state")
	if err != nil {
		return err
	}
	c, err := p.aws(ctx)
	if err != nil {
		return err
	}
	key, err := p.makeStateKey(ctx, kms.NewFromConfig(c))
	if err != nil {
		return fmt.Errorf("make the key %s of the state: %w", p.stateAlias(), err)
	}
	for _, step := range stateSteps(p.region(), bucket, key) {
		if err := step.do(ctx, s3.NewFromConfig(c)); err != nil {
			return fmt.Errorf("make the bucket %s of the state: %s: %w", bucket, step.what, err)
		}
	}
	return nil
}

func (p *Provider) makeStateKey(ctx context.Context, c *kms.Client) (string, error) {
	alias := p.stateAlias()
	have, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
	var none *kmstypes.NotFoundException
	if err == nil || !errors.As(err, &none) {
		if err != nil {
			return "", err
		}
		return aws.ToString(have.KeyMetadata.Arn), nil
	}
	made, err := c.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("Encrypts the state of " + p.name()),
		Tags:        []kmstypes.Tag{{TagKey: aws.String(clusterTag), TagValue: aws.String(p.name())}},
	})
	if err != nil {
		return "", err
	}
	if _, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: made.KeyMetadata.KeyId}); err != nil {
		return "", err
	}
	_, err = c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: made.KeyMetadata.KeyId})
	return aws.ToString(made.KeyMetadata.Arn), err
}

type stateStep struct {
	what string
	do   func(context.Context, *s3.Client) error
}

// stateSteps make a bucket what the state's must be; each may be done again.
func stateSteps(region, bucket, key string) []stateStep {
	b := aws.String(bucket)
	return []stateStep{
		{"create it", func(ctx context.Context, c *s3.Client) error {
			in := &s3.CreateBucketInput{Bucket: b, ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced}
			if region != "us-east-1" { // which S3 refuses to be told
				in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(region)}
			}
			_, err := c.CreateBucket(ctx, in)
			var mine *s3types.BucketAlreadyOwnedByYou
			if errors.As(err, &mine) {
				return nil
			}
			return err
		}},
		{"close it to the public", func(ctx context.Context, c *s3.Client) error {
			yes := aws.Bool(true)
			_, err := c.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: b, PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
				BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes}})
			return err
		}},
		{"encrypt it", func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
				Rules: []s3types.ServerSideEncryptionRule{{BucketKeyEnabled: aws.Bool(true), ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{
					SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: aws.String(key)}}}}})
			return err
		}},
		{"keep old versions", func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: b,
				VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
			return err
		}},
		{"refuse what is not TLS", func(ctx context.Context, c *s3.Client) error {
			policy, err := json.Marshal(tlsOnly(partition(key), bucket))
			if err == nil {
				_, err = c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: b, Policy: aws.String(string(policy))})
			}
			return err
		}},
	}
}

// partition is the part of AWS that an ARN is of.
func partition(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 1 && parts[1] != "" {
		return parts[1]
	}
	return "aws"
}

func tlsOnly(partition, bucket string) map[string]any {
	arn := "arn:" + partition + ":s3:::" + bucket
	return map[string]any{"Version": "2012-10-17", "Statement": []map[string]any{{
		"Sid": "TLSOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": []string{arn, arn + "/*"},
		"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
	}}}
}

// removeState removes the bucket with all its versions, and its key, which KMS keeps for the shortest time it does. A caller holds mu.
func (p *Provider) removeState(ctx context.Context) error {
	there, err := p.hasState(ctx)
	if err != nil {
		return err
	}
	bucket, err := p.bucket(ctx, "state")
	if err != nil {
		return err
	}
	c, err := p.aws(ctx)
	if err != nil {
		return err
	}
	if there {
		if err := p.emptyState(ctx, s3.NewFromConfig(c), bucket); err != nil {
			return fmt.Errorf("empty the bucket %s of the state: %w", bucket, err)
		}
	}
	if !p.ownState() {
		return nil
	}
	if there {
		if _, err := s3.NewFromConfig(c).DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket}); err != nil {
			return fmt.Errorf("delete the bucket %s of the state: %w", bucket, err)
		}
	}
	return p.removeStateKey(ctx, kms.NewFromConfig(c))
}

// emptyState deletes every version of what is of this cluster.
func (p *Provider) emptyState(ctx context.Context, c *s3.Client, bucket string) error {
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: aws.String(p.name() + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var gone []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			gone = append(gone, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			gone = append(gone, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		for _, o := range gone {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: o.Key, VersionId: o.VersionId}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Provider) removeStateKey(ctx context.Context, c *kms.Client) error {
	alias := p.stateAlias()
	have, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
	var none *kmstypes.NotFoundException
	if errors.As(err, &none) {
		return nil
	}
	const shortest = 7 // days
	if err == nil && have.KeyMetadata.KeyState != kmstypes.KeyStatePendingDeletion {
		_, err = c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: have.KeyMetadata.KeyId, PendingWindowInDays: aws.Int32(shortest)})
	}
	if err == nil {
		_, err = c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: &alias})
	}
	if err != nil {
		return fmt.Errorf("remove the key %s of the state: %w", alias, err)
	}
	return nil
}

package aws

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/test/awsapi"
)

// TestCloud asks stand-ins where machines are, at which address the API is, and what they have published.
func TestCloud(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cloud, stop := awsapi.Serve("111122223333", "eu-west-1")
	defer stop()
	cloud.Change(func(c *awsapi.Cloud) {
		c.Buckets = map[string]*awsapi.Bucket{"demo-111122223333-bundle": {}}
		c.Interfaces = []awsapi.Interface{
			{Description: "ELB net/demo-api/50dc6c495c0c9188", VPC: "vpc-1", Zone: "eu-west-1b", Address: "10.90.64.9"},
			{Description: "ELB net/demo-api/50dc6c495c0c9188", VPC: "vpc-1", Zone: "eu-west-1a", Address: "10.90.0.9"},
			{Description: "ELB net/demo-api/50dc6c495c0c9199", VPC: "vpc-2", Zone: "eu-west-1a", Address: "10.91.0.9"}, // of the same name in another VPC
			{Description: "ELB app/demo-web/50dc6c495c0c9188", VPC: "vpc-1", Zone: "eu-west-1a", Address: "10.90.0.10"},
		}
	})
	config := &aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(cloud.URL()), RetryMaxAttempts: 1}
	for id, secret := range cloud.Keys {
		config.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	}
	p := &Provider{config: config, outputs: &Outputs{}, Options: Options{Cluster: &v1alpha1.Cluster{Metadata: v1alpha1.Metadata{Name: "demo"},
		Spec: v1alpha1.Spec{Provider: v1alpha1.Provider{AWS: &v1alpha1.AWS{Region: "eu-west-1", VPCCIDR: "10.90.0.0/16"}}}}}}

	if m, err := p.Balancer(ctx); err != nil || m.State != provider.Absent || m.Name != "api.demo.internal" {
		t.Errorf("before anything is made: %+v, %v", m, err)
	}
	p.outputs = &Outputs{VPC: "vpc-1", APIEndpoint: "api.demo.internal:6443"}
	if m, err := p.Balancer(ctx); err != nil || m.State != provider.Running || m.Address.String() != "10.90.0.9" || m.Role != v1alpha1.RoleLB {
		t.Errorf("the balancer: %+v, %v", m, err)
	}
	if _, err := p.Balancer(ctx); err != nil || cloud.Asked("ec2:DescribeNetworkInterfaces") != 1 {
		t.Errorf("asked again, EC2 was asked %d times, %v", cloud.Asked("ec2:DescribeNetworkInterfaces"), err)
	}
	at, err := p.Place(ctx)
	if err != nil || at.Account != "111122223333" || at.Region != "eu-west-1" || at.Network != "vpc-1" || at.Range.String() != "10.90.0.0/16" {
		t.Errorf("the place: %+v, %v", at, err)
	}
	if _, err := p.Published(ctx, "vault-ca.pem"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nobody has published: %v", err)
	}
	if err := p.Publish(ctx, "vault-ca.pem", []byte("a CA")); err != nil {
		t.Fatal(err)
	}
	if b, err := p.Published(ctx, "vault-ca.pem"); err != nil || string(b) != "a CA" {
		t.Errorf("what was published: %q, %v", b, err)
	}
	for _, name := range []string{"../other/vault-ca.pem", "/vault-ca.pem", "a//b"} {
		if err := p.Publish(ctx, name, nil); err == nil {
			t.Errorf("%s is published", name)
		}
	}
}

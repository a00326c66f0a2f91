package aws

import (
	"context"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/test/awsapi"
)

// TestInstancesThatLive asks a stand-in for EC2, by AWS's own client.
func TestInstancesThatLive(t *testing.T) {
	cloud, stop := awsapi.Serve("111122223333", "eu-west-1")
	defer stop()
	ours := map[string]string{clusterTag: "demo"}
	cloud.Change(func(c *awsapi.Cloud) {
		for id, state := range map[string]string{"i-01": "pending", "i-02": "running", "i-03": "stopping", "i-04": "stopped", "i-05": "shutting-down", "i-06": "terminated"} {
			c.Instances[id] = awsapi.Instance{State: state, Tags: ours}
		}
		c.Instances["i-07"] = awsapi.Instance{State: "running", Tags: map[string]string{clusterTag: "demo2"}}
		c.Instances["i-08"] = awsapi.Instance{State: "running"}
	})
	p := &Provider{config: &aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(cloud.URL())}, Options: Options{Cluster: &v1alpha1.Cluster{
		Metadata: v1alpha1.Metadata{Name: "demo"}, Spec: v1alpha1.Spec{Provider: v1alpha1.Provider{AWS: &v1alpha1.AWS{Region: "eu-west-1"}}}}}}
	for id, secret := range cloud.Keys {
		p.config.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	}
	have, err := p.describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := ids(have)
	slices.Sort(got)
	if want := []string{"i-01", "i-02", "i-03", "i-04"}; !slices.Equal(got, want) {
		t.Errorf("live: %v, want %v", got, want)
	}
	// Whoever waits looks ten times a second: EC2 is asked once, and again when something was done.
	p.outputs = &Outputs{Machines: map[string]Made{"vault-0": {InstanceID: "i-02"}}}
	before := cloud.Asked("ec2:DescribeInstances")
	list := func(want int) {
		t.Helper()
		if _, err := p.List(context.Background()); err != nil {
			t.Fatal(err)
		}
		if asked := cloud.Asked("ec2:DescribeInstances") - before; asked != want {
			t.Errorf("asked %d times, want %d", asked, want)
		}
	}
	list(1)
	list(1)
	p.ask()
	list(2)
	p.heardAt = p.heardAt.Add(-hearsay)
	list(3)

	p.config.Credentials = credentials.NewStaticCredentialsProvider("AKIANOBODY", "x", "")
	if _, err := p.describe(context.Background()); err == nil {
		t.Error("somebody without a key is answered")
	}
}

package aws

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ashlar.dev/ashlar/test/awsapi"
)

// TestGone asks a stand-in for EC2, as whoever may ask and as whoever may not.
func TestGone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cloud, stop := awsapi.Serve("111122223333", "eu-west-1")
	defer stop()
	cloud.Change(func(c *awsapi.Cloud) {
		for id, state := range map[string]string{"i-run": "running", "i-pend": "pending", "i-stop": "stopped", "i-end": "terminated", "i-shut": "shutting-down"} {
			c.Instances[id] = awsapi.Instance{State: state}
		}
	})
	config := aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(cloud.URL()), RetryMaxAttempts: 1}
	for id, secret := range cloud.Keys {
		config.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	}
	for _, c := range []struct{ asked, want []string }{
		{[]string{"i-run", "i-pend", "i-stop"}, nil},
		{[]string{"i-end", "i-run", "i-shut"}, []string{"i-end", "i-shut"}},
		{[]string{"i-forgotten", "i-run"}, []string{"i-forgotten"}},
		{[]string{"i-forgotten"}, nil}, // nothing is known: perhaps of the wrong account
	} {
		got, err := Gone(ctx, config, c.asked)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("of %v, %v are gone (%v), want %v", c.asked, got, err, c.want)
		}
	}
	cloud.Change(func(c *awsapi.Cloud) { c.Refused["ec2:DescribeInstances"] = true })
	if got, err := Gone(ctx, config, []string{"i-end"}); err == nil || len(got) > 0 {
		t.Errorf("who may not ask hears %v", got)
	}
}

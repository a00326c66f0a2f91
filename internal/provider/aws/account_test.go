package aws_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/aws"
	modules "ashlar.dev/ashlar/terraform/aws"
	"ashlar.dev/ashlar/test/awsapi"
)

const accountID = "111122223333"

// account is what stands in for one of AWS's: S3, KMS, STS and EC2 by HTTP, and a provider of OpenTofu with the real one's schema.
type account struct {
	*awsapi.Cloud
	tofu, objects, root string
}

// plugins is where the provider was built, once for all tests.
var plugins string

func TestMain(m *testing.M) {
	code := m.Run()
	if plugins != "" {
		_ = os.RemoveAll(plugins) // it is the system's to clean up otherwise
	}
	os.Exit(code)
}

var setup = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ashlar-aws-*")
	if err != nil {
		return "", err
	}
	plugins = dir
	out, err := exec.Command("go", "-C", "../../../test/aws", "run", "./cmd/setup", dir).Output()
	return strings.TrimSpace(string(out)), err
})

func newAccount(t *testing.T, cluster, region string) *account {
	t.Helper()
	tofu := os.Getenv("ASHLAR_TOFU")
	if b := os.Getenv("ASHLAR_TEST_BUNDLE"); b != "" && tofu == "" {
		tofu = filepath.Join(b, "bin", "tofu")
	}
	if tofu == "" {
		t.Skip("needs tofu: set ASHLAR_TEST_BUNDLE, as make does")
	}
	config, err := setup()
	if err != nil {
		t.Fatal(err)
	}
	cloud, stop := awsapi.Serve(accountID, region)
	t.Cleanup(stop)
	cloud.Change(func(c *awsapi.Cloud) {
		c.Aliases = map[string]string{}
		c.Buckets = map[string]*awsapi.Bucket{cluster + "-" + accountID + "-bundle": {}} // which the provider only says it makes
	})
	a := &account{Cloud: cloud, tofu: tofu, root: t.TempDir()}
	a.objects = filepath.Join(a.root, "objects.json")
	for _, e := range cloud.Environment() {
		key, value, _ := strings.Cut(e, "=")
		t.Setenv(key, value)
	}
	for key, value := range map[string]string{"AWS_ENDPOINT_URL": cloud.URL(), "TF_CLI_CONFIG_FILE": config, "ASHLAR_AWS_OBJECTS": a.objects,
		"ASHLAR_AWS_ACCOUNT": accountID, "CHECKPOINT_DISABLE": "1", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(key, value)
	}
	return a
}

// operator is somebody who works on a cluster from a directory of theirs.
func (a *account) operator(t *testing.T, c *v1alpha1.Cluster, dir string) *aws.Provider {
	t.Helper()
	archive := filepath.Join(a.root, "bundle.tar.gz")
	if err := os.WriteFile(archive, []byte("the software"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := aws.New(aws.Options{
		Cluster: c, Network: network(c), Dir: filepath.Join(a.root, dir), Plugins: filepath.Join(a.root, "plugins"), Tofu: a.tofu, Modules: modules.Files,
		Archive: func(context.Context) (aws.Archive, error) { return aws.Archive{File: archive, Digest: digest}, nil },
		Enter: func(context.Context, string) (aws.Entry, error) {
			t.Error("nobody has to enter a machine for this")
			return aws.Entry{}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func network(c *v1alpha1.Cluster) provider.Network {
	return provider.Network{Rules: phase.Rules(c), Trusted: c.Spec.Exposure.Trusted()}
}

// object is one of AWS's, by its attributes.
type object = map[string]any

// change edits what there is in the account, behind OpenTofu's back.
func (a *account) change(t *testing.T, edit func(all map[string]map[string]object)) {
	t.Helper()
	all := map[string]map[string]object{}
	b, err := os.ReadFile(a.objects)
	if err == nil {
		err = json.Unmarshal(b, &all)
	} else if os.IsNotExist(err) {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(all)
	if b, err = json.Marshal(all); err == nil {
		err = os.WriteFile(a.objects, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// words are a plan's, a line each.
func words(drift []provider.Drift) string {
	var b strings.Builder
	for _, d := range drift {
		object := d.Machine
		if object == "" {
			object = "network"
		}
		b.WriteString(object + ": " + d.Cause + " → " + d.Action + "\n")
	}
	return b.String()
}

// instances has EC2 know what OpenTofu made, and what the groups made that it made.
func (a *account) instances(t *testing.T, cluster string) {
	t.Helper()
	all := map[string]awsapi.Instance{}
	a.change(t, func(objects map[string]map[string]object) {
		for _, kind := range []string{"aws_instance", "made:aws_instance"} {
			for id, o := range objects[kind] {
				i := awsapi.Instance{State: o["instance_state"].(string), Address: o["private_ip"].(string), Tags: map[string]string{"ashlar.dev/cluster": cluster}}
				if group, member := o["group"].(string); member {
					i.Tags["aws:autoscaling:groupName"] = group
				}
				all[id] = i
			}
		}
	})
	a.Change(func(c *awsapi.Cloud) { c.Instances = all })
}

package vault

import (
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/identity"
	"ashlar.dev/ashlar/test/awsapi"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	vpc     = "vpc-0a"
)

// onAWS is the cluster of the other tests, on AWS: control plane and workers are groups.
func onAWS(in Input, cloud *awsapi.Cloud, certificate string) Input {
	machines := in.Machines
	in.Machines = nil
	for _, m := range machines {
		switch m.Role {
		case v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleBastion:
			in.Machines = append(in.Machines, m)
		}
	}
	in.AWS = &AWS{Account: account, Region: region, VPC: vpc, CIDR: netip.MustParsePrefix("127.0.0.0/24"),
		Pools:        []AWSPool{{"control-plane", v1alpha1.RoleControlPlane}, {"worker", v1alpha1.RoleWorker}, {"batch", v1alpha1.RoleWorker}},
		Certificates: map[string]string{},
	}
	if certificate != "" {
		in.AWS.Certificates["test"] = certificate
	}
	if cloud != nil {
		in.AWS.Endpoints = AWSEndpoints{cloud.URL(), cloud.URL(), cloud.URL()}
	}
	return in
}

// awsCluster is a cluster whose Vault asks a stand-in for AWS.
type awsCluster struct {
	*cluster
	cloud  *awsapi.Cloud
	signer *awsapi.Signer
}

func startAWSCluster(t *testing.T) *awsCluster {
	t.Helper()
	t.Parallel()
	cloud, stop := awsapi.Serve(account, region)
	t.Cleanup(stop)
	signer, err := awsapi.NewSigner(region)
	if err != nil {
		t.Fatal(err)
	}
	s := startServerWith(t, "vault-0", "", cloud.Environment())
	return &awsCluster{furnish(t, s, onAWS(testInput(s.dir), cloud, signer.Certificate())), cloud, signer}
}

// launch starts an instance of a machine or a pool.
func (c *awsCluster) launch(id, of string) awsapi.Document {
	c.cloud.Change(func(a *awsapi.Cloud) {
		a.Instances[id] = awsapi.Instance{State: "running", VPC: vpc, Image: "ami-1", Profile: "arn:aws:iam::" + account + ":instance-profile/demo-" + of}
	})
	return awsapi.Document{Account: account, Instance: id, Region: region, Image: "ami-1", Pending: time.Now()}
}

func (c *awsCluster) change(id string, f func(*awsapi.Instance)) {
	c.cloud.Change(func(a *awsapi.Cloud) {
		i := a.Instances[id]
		f(&i)
		a.Instances[id] = i
	})
}

// login shows a document, from an address.
func (c *awsCluster) login(from, mount, role string, d awsapi.Document) (*Client, string, error) {
	c.t.Helper()
	text, err := c.signer.PKCS7(d.Encode())
	c.must(err)
	client, _, name, err := c.client(from, "").LoginInstance(c.ctx, mount, role, text)
	return client, name, err
}

// TestInstanceIsRefusedForOneReason gets one thing wrong at a time, and then that thing right.
func TestInstanceIsRefusedForOneReason(t *testing.T) {
	c := startAWSCluster(t)
	machine, pool := AWSMachinePath("demo"), AWSPoolPath("demo")
	etcd := testInput("").Machines[1].Address.String()
	for _, test := range []struct {
		name     string
		instance string
		of       string // whose instance profile it has
		mount    string
		role     string
		from     string
		wrong    func(id string, d *awsapi.Document)
		right    func(id string, d *awsapi.Document)
		because  string
	}{
		{"another account's document", "i-01", "etcd-0", machine, "etcd-0", etcd,
			func(_ string, d *awsapi.Document) { d.Account = "999988887777" }, func(_ string, d *awsapi.Document) { d.Account = account },
			`default client is for account "111122223333"`},
		{"another region", "i-02", "etcd-0", machine, "etcd-0", etcd,
			func(_ string, d *awsapi.Document) { d.Region = "eu-west-9" }, func(_ string, d *awsapi.Document) { d.Region = region }, "SignatureDoesNotMatch"},
		{"another VPC", "i-03", "etcd-0", machine, "etcd-0", etcd,
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.VPC = "vpc-0b" }) },
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.VPC = vpc }) },
			"it is in another VPC"},
		{"another machine's profile", "i-04", "vault-0", machine, "etcd-0", etcd, nil,
			func(id string, _ *awsapi.Document) {
				c.change(id, func(i *awsapi.Instance) { i.Profile = strings.Replace(i.Profile, "vault-0", "etcd-0", 1) })
			}, "its instance profile is another's"},
		{"a profile that begins as this one", "i-05", "worker-2", pool, "worker", fromA, nil,
			func(id string, _ *awsapi.Document) {
				c.change(id, func(i *awsapi.Instance) { i.Profile = strings.TrimSuffix(i.Profile, "-2") })
			}, "its instance profile is another's"},
		{"another pool", "i-06", "batch", pool, "control-plane", fromA, nil,
			func(id string, _ *awsapi.Document) {
				c.change(id, func(i *awsapi.Instance) { i.Profile = strings.Replace(i.Profile, "batch", "control-plane", 1) })
			}, "its instance profile is another's"},
		{"not running yet", "i-07", "worker", pool, "worker", fromA,
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.State = "pending" }) },
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.State = "running" }) },
			"AWS says that it does not run"},
		{"terminated", "i-08", "worker", pool, "worker", fromA,
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.State = "terminated" }) },
			func(id string, _ *awsapi.Document) { c.change(id, func(i *awsapi.Instance) { i.State = "running" }) },
			"AWS says that it does not run"},
		{"an instance that nobody knows", "i-09", "worker", pool, "worker", fromA,
			func(_ string, d *awsapi.Document) { d.Instance = "i-ffff" }, func(id string, d *awsapi.Document) { d.Instance = id },
			"AWS knows of no such instance"},
		{"AWS does not say", "i-10", "worker", pool, "worker", fromA,
			func(string, *awsapi.Document) {
				c.cloud.Change(func(a *awsapi.Cloud) { a.Refused["ec2:DescribeInstances"] = true })
			},
			func(string, *awsapi.Document) {
				c.cloud.Change(func(a *awsapi.Cloud) { a.Refused = map[string]bool{} })
			},
			"AccessDeniedException"},
	} {
		d := c.launch(test.instance, test.of)
		if test.wrong != nil {
			test.wrong(test.instance, &d)
		}
		if _, _, err := c.login(test.from, test.mount, test.role, d); err == nil || !strings.Contains(err.Error(), test.because) {
			t.Errorf("%s: want a refusal because of %q, got: %v", test.name, test.because, err)
		}
		test.right(test.instance, &d)
		if _, _, err := c.login(test.from, test.mount, test.role, d); err != nil {
			t.Errorf("%s: with that one thing right: %v", test.name, err)
		}
	}
}

// TestInstanceLogsInOnce replays documents, its own and borrowed ones, and shows ones that AWS did not sign.
func TestInstanceLogsInOnce(t *testing.T) {
	c := startAWSCluster(t)
	machine, pool := AWSMachinePath("demo"), AWSPoolPath("demo")
	etcd := testInput("").Machines[1].Address.String()
	d := c.launch("i-0e", "etcd-0")

	if _, _, err := c.login(fromA, machine, "etcd-0", d); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "address that is not this machine's") {
		t.Errorf("another machine that borrowed the document: %v", err)
	}
	forger, err := awsapi.NewSigner(region)
	c.must(err)
	forged := &awsCluster{c.cluster, c.cloud, forger}
	if _, _, err := forged.login(etcd, machine, "etcd-0", d); !errors.Is(err, ErrNotThatInstance) || !strings.Contains(err.Error(), "not signed by AWS") {
		t.Errorf("a document that somebody else signed: %v", err)
	}
	text, err := c.signer.PKCS7(d.Encode())
	c.must(err)
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	c.must(err)
	b[len(b)-20] ^= 1 // within the signature's value, which comes last
	damaged := base64.StdEncoding.EncodeToString(b)
	if _, _, _, err := c.client(etcd, "").LoginInstance(c.ctx, machine, "etcd-0", damaged); !errors.Is(err, ErrNotThatInstance) {
		t.Errorf("a damaged signature: %v", err)
	}
	if _, _, _, err := c.client(etcd, "").LoginInstance(c.ctx, machine, "etcd-0", "nothing"); !errors.Is(err, ErrNotThatInstance) {
		t.Errorf("no signature at all: %v", err)
	}
	client, name, err := c.login(etcd, machine, "etcd-0", d)
	if err != nil || name != "etcd-0" {
		t.Fatalf("the right instance: %q, %v", name, err)
	}
	if _, _, err := c.login(etcd, machine, "etcd-0", d); !errors.Is(err, ErrSecondLogin) {
		t.Errorf("the same document again: %v", err)
	}
	d.Pending = d.Pending.Add(time.Hour)
	if _, _, err := c.login(etcd, machine, "etcd-0", d); !errors.Is(err, ErrSecondLogin) {
		t.Errorf("the instance after it was stopped and started: %v", err)
	}
	// A machine made anew in its place is another instance.
	if _, name, err := c.login(etcd, machine, "etcd-0", c.launch("i-0f", "etcd-0")); err != nil || name != "etcd-0" {
		t.Errorf("its successor: %q, %v", name, err)
	}
	// A member, by what its metadata service says.
	text, err = c.signer.PKCS7(c.launch("i-0g", "worker").Encode())
	c.must(err)
	imds, err := awsapi.NewIMDS(awsapi.Describe{ID: "i-0g", Region: region, PKCS7: text})
	c.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.must(err)
	defer imds.Serve(l)()
	shown, err := identity.Document(c.ctx, "http://"+l.Addr().String())
	c.must(err)
	if _, _, name, err := c.client(fromA, "").LoginInstance(c.ctx, pool, "worker", shown); err != nil || name != "i-0g.eu-west-1.compute.internal" {
		t.Errorf("a member: %q, %v", name, err)
	}
	// The token is good at the machine's own address only.
	if _, err := c.client(fromA, "").WithToken(client.Token()).RenewSelf(c.ctx); !errors.Is(err, ErrDenied) {
		t.Errorf("its token elsewhere: %v", err)
	}
}

// TestTokenDiesWithItsInstance renews as long as AWS says that the instance runs.
func TestTokenDiesWithItsInstance(t *testing.T) {
	c := startAWSCluster(t)
	client, _, err := c.login(fromA, AWSPoolPath("demo"), "worker", c.launch("i-01", "worker"))
	c.must(err)
	other, _, err := c.login(fromB, AWSPoolPath("demo"), "worker", c.launch("i-02", "worker"))
	c.must(err)
	if login, err := client.RenewSelf(c.ctx); err != nil || login.TTL != c.input.LeafTTL {
		t.Fatalf("while it runs: %v, %v", login.TTL, err)
	}
	for _, state := range []string{"stopping", "stopped", "shutting-down", "terminated"} {
		c.change("i-01", func(i *awsapi.Instance) { i.State = state })
		if _, err := client.RenewSelf(c.ctx); err == nil || !strings.Contains(err.Error(), "not in 'running' state") {
			t.Errorf("%s: %v", state, err)
		}
	}
	c.cloud.Change(func(a *awsapi.Cloud) { delete(a.Instances, "i-01") })
	if _, err := client.RenewSelf(c.ctx); err == nil || !strings.Contains(err.Error(), "InvalidInstanceID") {
		t.Errorf("forgotten by AWS: %v", err)
	}
	if _, err := other.RenewSelf(c.ctx); err != nil {
		t.Errorf("another instance: %v", err)
	}
	c.launch("i-01", "worker")
	if _, err := client.RenewSelf(c.ctx); err != nil {
		t.Errorf("with its instance back: %v", err)
	}
}

package vault

import (
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/test/awsapi"
)

// TestMemberIsWhatAWSSigned gets a member of a group its own certificates and documents, and nothing of others.
func TestMemberIsWhatAWSSigned(t *testing.T) {
	c := startAWSCluster(t)
	a, nameA, err := c.login(fromA, AWSPoolPath("demo"), "worker", c.launch("i-0a", "worker"))
	c.must(err)
	b, nameB, err := c.login(fromB, AWSPoolPath("demo"), "worker", c.launch("i-0b", "worker"))
	c.must(err)
	cp, nameCP, err := c.login(fromCP, AWSPoolPath("demo"), "control-plane", c.launch("i-0c", "control-plane"))
	c.must(err)
	etcd, nameEtcd, err := c.login(testInput("").Machines[1].Address.String(), AWSMachinePath("demo"), "etcd-0", c.launch("i-0d", "etcd-0"))
	c.must(err)
	if nameA != "i-0a.eu-west-1.compute.internal" || nameB != "i-0b.eu-west-1.compute.internal" || nameEtcd != "etcd-0" {
		t.Errorf("names: %s %s %s", nameA, nameB, nameEtcd)
	}
	csr, _ := newCSR(t)
	for name, who := range map[string]struct {
		*Client
		role v1alpha1.Role
	}{nameA: {a, v1alpha1.RoleWorker}, nameB: {b, v1alpha1.RoleWorker}, nameCP: {cp, v1alpha1.RoleControlPlane}, nameEtcd: {etcd, v1alpha1.RoleEtcd}} {
		for _, p := range unit.ProfilesOf(who.role) {
			var ips []string
			if p.APIAddress {
				ips = []string{"10.96.0.1"}
			}
			if _, err := who.Sign(c.ctx, p.For(name), csr, ips...); err != nil {
				t.Errorf("%s's own %s: %v", name, p.Name, err)
			}
			if p.CommonName == p.For("x").CommonName && len(p.DNSNames) == 0 {
				continue // says nothing of the machine
			}
			for _, other := range []string{nameA, nameB, nameCP, "etcd-0", "worker-0", "", "." + region + ".compute.internal", "i-0.eu-west-1.compute.internal"} {
				if other == name || other == "" && !strings.Contains(p.CommonName, unit.Self) {
					continue // an empty DNS name is none
				}
				if _, err := who.Sign(c.ctx, p.For(other), csr, ips...); err == nil {
					t.Errorf("%s got %s of %q", name, p.Name, other)
				}
			}
		}
	}
	_, err = c.operator.WriteDocument(c.ctx, "worker", Desired, 0, map[string]string{"for": "workers"})
	c.must(err)
	_, err = c.operator.WriteDocument(c.ctx, "batch", Desired, 0, map[string]string{"for": "others"})
	c.must(err)
	var out map[string]string
	if _, err := a.ReadDocument(c.ctx, "worker", Desired, &out); err != nil || out["for"] != "workers" {
		t.Errorf("its pool's document: %v, %v", out, err)
	}
	if _, err := a.WriteDocument(c.ctx, nameA, Status, 0, out); err != nil {
		t.Errorf("its own status: %v", err)
	}
	sshKey := publicKey(t)
	if _, err := a.SignHostKey(c.ctx, SSHHosts, sshKey, nameA); err != nil {
		t.Errorf("its host key: %v", err)
	}
	for what, err := range map[string]error{
		"another pool's document":    func() error { _, err := a.ReadDocument(c.ctx, "batch", Desired, &out); return err }(),
		"a machine's document":       func() error { _, err := a.ReadDocument(c.ctx, "etcd-0", Desired, &out); return err }(),
		"another's status":           func() error { _, err := a.WriteDocument(c.ctx, nameB, Status, 0, out); return err }(),
		"its pool's document anew":   func() error { _, err := a.WriteDocument(c.ctx, "worker", Desired, 1, out); return err }(),
		"another's host key":         func() error { _, err := a.SignHostKey(c.ctx, SSHHosts, sshKey, nameB); return err }(),
		"who has logged in":          a.remove(c.ctx, "auth/"+AWSPoolPath("demo")+"/identity-accesslist/i-0a"),
		"the key of ServiceAccounts": func() error { _, err := a.ReadSecret(c.ctx, ServiceAccountDocument); return err }(),
	} {
		if err == nil {
			t.Errorf("a worker could have %s", what)
		}
	}
	// People and the operator enter a group's members by their pool: what they are called nobody knows before.
	if _, err := c.operator.SignOperatorKey(c.ctx, SSHUsers, sshKey, unit.PoolPrincipal("worker")); err != nil {
		t.Errorf("the operator's key for a pool: %v", err)
	}
	if _, err := c.operator.SignOperatorKey(c.ctx, SSHUsers, sshKey, unit.PoolPrincipal("nothing")); err == nil {
		t.Error("the operator has a key for a pool that is not there")
	}
	if _, err := cp.ReadSecret(c.ctx, ServiceAccountDocument); err != nil {
		t.Errorf("a member of the control plane: %v", err)
	}
}

// TestAWSDriftIsSeenAndRepaired opens the doors that there are, one by one.
func TestAWSDriftIsSeenAndRepaired(t *testing.T) {
	c := startAWSCluster(t)
	if d := c.drift(); len(d) > 0 {
		t.Fatalf("just made: %v", d)
	}
	forger, err := awsapi.NewSigner(region)
	c.must(err)
	machine, pool := "auth/"+AWSMachinePath("demo"), "auth/"+AWSPoolPath("demo")
	put := func(path string, body Fields) func(*Client) error {
		return func(root *Client) error { return root.put(c.ctx, path, body, nil) }
	}
	role := Fields{"auth_type": "ec2", "bound_account_id": []string{account}, "token_policies": []string{"demo-vault"}}
	for name, test := range map[string]struct {
		open  func(*Client) error
		named string
	}{
		"another certificate": {put(pool+"/config/certificate/evil", Fields{"aws_public_cert": forger.Certificate(), "type": "pkcs7"}), pool + "/config/certificate/evil"},
		"another account":     {put(machine+"/config/sts/999988887777", Fields{"sts_role": "arn:aws:iam::999988887777:role/x"}), machine + "/config/sts/999988887777"},
		"another role":        {put(pool+"/role/evil", role), pool + "/role/evil"},
		"second logins":       {put(pool+"/role/worker", Fields{"disallow_reauthentication": false}), "disallow_reauthentication is false"},
		"migration":           {put(machine+"/role/etcd-0", Fields{"disallow_reauthentication": false, "allow_instance_migration": true}), "allow_instance_migration is true"},
		"any profile":         {put(pool+"/role/worker", Fields{"bound_iam_instance_profile_arn": []string{"*"}}), "bound_iam_instance_profile_arn is"},
		"forgetting":          {put(pool+"/config/tidy/identity-accesslist", Fields{"disable_periodic_tidy": false}), "disable_periodic_tidy is false"},
		"another endpoint":    {put(machine+"/config/client", Fields{"endpoint": "https://evil.example.com"}), `endpoint is "https://evil.example.com"`},
		"a key":               {put(machine+"/config/client", Fields{"access_key": "AKIAEVIL", "secret_key": "x"}), `access_key is "AKIAEVIL"`},
		"alias by image":      {put(pool+"/config/identity", Fields{"ec2_alias": "image_id"}), `ec2_alias is "image_id"`},
		"PKI names":           {put("demo/pki/kubernetes/roles/kubelet", Fields{"allowed_domains": "system:node:x"}), "allowed_domains"},
		"a role made anew": {func(root *Client) error {
			if err := root.remove(c.ctx, machine+"/role/etcd-0"); err != nil {
				return err
			}
			return root.put(c.ctx, machine+"/role/etcd-0", Fields{"auth_type": "iam", "bound_iam_principal_arn": "arn:aws:iam::999988887777:*", "resolve_aws_unique_ids": false}, nil)
		}, `auth_type is "iam"`},
		"the mount made anew": {func(root *Client) error { return root.remove(c.ctx, "sys/"+pool) }, "auth method sys/" + pool},
	} {
		c.asRoot(test.open)
		var all []string
		for _, d := range c.drift() {
			all = append(all, d.String())
		}
		if !strings.Contains(strings.Join(all, "\n"), test.named) {
			t.Errorf("%s is not seen as %q: %v", name, test.named, all)
		}
		c.asRoot(func(root *Client) error {
			for range 2 { // of a mount that was gone, what hangs on its accessor shows when it is back
				have, err := Observe(c.ctx, root, c.want)
				if err != nil {
					return err
				}
				if err := Apply(c.ctx, root, Diff(c.want, have)); err != nil {
					return err
				}
			}
			return nil
		})
		if d := c.drift(); len(d) > 0 {
			t.Fatalf("%s is not repaired: %v", name, d)
		}
	}
	if _, _, err := c.login(fromA, AWSPoolPath("demo"), "worker", c.launch("i-0a", "worker")); err != nil {
		t.Errorf("after all repairs: %v", err)
	}
	if _, name, err := c.login(testInput("").Machines[1].Address.String(), AWSMachinePath("demo"), "etcd-0", c.launch("i-0d", "etcd-0")); err != nil || name != "etcd-0" {
		t.Errorf("after all repairs: %q, %v", name, err)
	}
}

// TestMembersMayLittle is TestMachinesMayLittle for those of groups: beside what is of its pool, a member has only what is its own.
func TestMembersMayLittle(t *testing.T) {
	in := onAWS(testInput(""), nil, "")
	for _, p := range in.AWS.Pools {
		for _, r := range memberRules(in, p) {
			for _, capability := range r.capabilities {
				own := strings.Contains(r.path, entityMember)
				pools := strings.Contains(r.path, "/machines/") && strings.HasSuffix(r.path, "/"+p.Name+"/"+Desired) && capability == "read"
				if strings.Contains(r.path, "/machines/") && !own && !pools || strings.Contains(r.path, entityMachine) ||
					!strings.Contains("create read update", capability) {
					t.Errorf("%s may %s %s", p.Name, capability, r.path)
				}
			}
		}
	}
	for _, o := range Layout(in).Objects {
		if o.Kind == KindAWSRole && (o.Fields["disallow_reauthentication"] != true || o.Fields["allow_instance_migration"] != false) {
			t.Errorf("%s lets an instance log in twice", o.Path)
		}
		if o.Kind == KindAppRole && o.Path != AppRolePath("demo", Operator) && !strings.Contains(o.Path, RobotsPath("demo")) {
			t.Errorf("%s: a machine on AWS could log in otherwise", o.Path)
		}
	}
}

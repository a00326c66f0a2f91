package aws_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider/aws"
	"ashlar.dev/ashlar/test/awsapi"
)

// up makes a cluster, as one operator.
func up(t *testing.T, a *account, c *v1alpha1.Cluster) *aws.Provider {
	t.Helper()
	p := a.operator(t, c, "operator")
	if err := p.EnsureNetwork(within(t, 10*time.Minute), nil, network(c)); err != nil {
		t.Fatal(err)
	}
	a.instances(t, c.Metadata.Name)
	return p
}

// planned is what there is to do now, as another operator sees it.
func planned(t *testing.T, a *account, c *v1alpha1.Cluster) string {
	t.Helper()
	drift, err := a.operator(t, c, "other").NetworkDrift(within(t, 5*time.Minute), nil, network(c))
	if err != nil {
		t.Fatal(err)
	}
	return words(drift)
}

// What differs is named in words, whoever made it so, and repaired; what would lose something has to be asked for.
func TestDrift(t *testing.T) {
	c := example(t, "aws-single")
	a := newAccount(t, c.Metadata.Name, c.Spec.Provider.AWS.Region)
	up(t, a, c)

	a.change(t, func(all map[string]map[string]object) {
		for id, i := range all["aws_instance"] {
			if named(i, "ashlar.dev/machine") == "bastion-0" {
				i["instance_type"] = "m6i.24xlarge"
				all["aws_instance"][id] = i
			}
		}
		for id, r := range all["aws_vpc_security_group_ingress_rule"] {
			if named(r, "Name") == "worker to etcd tcp 2359" {
				delete(all["aws_vpc_security_group_ingress_rule"], id)
			}
			if named(r, "Name") == "198.51.100.0/24 trusted to bastion tcp 22" {
				r["cidr_ipv4"] = "0.0.0.0/0"
			}
		}
	})
	got := planned(t, a, c)
	for _, want := range []string{
		"bastion-0: somebody changed the instance: instance type: t3.micro → m6i.24xlarge → change it",
		"network: somebody closed worker to etcd tcp 2359 (calico-node) → open it",
		"network: somebody changed the rule, at its end: cidr ipv4: 198.51.100.0/24 → 0.0.0.0/0 → change it",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the plan does not say: %s\nbut:\n%s", want, got)
		}
	}
	up(t, a, c)
	if left := planned(t, a, c); left != "" {
		t.Errorf("up has left:\n%s", left)
	}

	// A member of etcd, and its data, are only replaced for who asks.
	a.change(t, func(all map[string]map[string]object) {
		for id, v := range all["aws_ebs_volume"] {
			if named(v, "Name") == "single-etcd-0-data" {
				delete(all["aws_ebs_volume"], id)
			}
		}
	})
	t.Logf("without the volume:\n%s", planned(t, a, c))
	up(t, a, c)
	worse := example(t, "aws-single")
	worse.Spec.Provider.AWS.Zones = []string{"eu-central-1b"}
	before := a.snapshot(t)
	p := a.operator(t, worse, "operator")
	err := p.EnsureNetwork(within(t, 5*time.Minute), nil, network(worse))
	if err == nil {
		t.Fatal("all data was moved to another zone, and nobody asked for it")
	}
	for _, want := range []string{"etcd-0: ", "THIS LOSES all that is on it", "ashlar up --replace ", "data volume"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q, but:\n%v", want, err)
		}
	}
	if diff := cmp.Diff(before, a.snapshot(t)); diff != "" {
		t.Errorf("it was refused, and something has changed:\n%s", diff)
	}
}

// named is a tag of an object.
func named(o object, tag string) string {
	tags, _ := o["tags"].(map[string]any)
	s, _ := tags[tag].(string)
	return s
}

func (a *account) snapshot(t *testing.T) string {
	t.Helper()
	var all any
	b, err := os.ReadFile(a.objects)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err == nil {
		b, err = json.Marshal(all) // in one order
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An apply that is interrupted in its middle is finished by the next.
func TestInterrupted(t *testing.T) {
	c := example(t, "aws-single")
	a := newAccount(t, c.Metadata.Name, c.Spec.Provider.AWS.Region)
	ctx, cancel := context.WithCancel(within(t, 10*time.Minute))
	defer cancel()
	go func() { // as soon as there is an instance, which is in the middle
		for ctx.Err() == nil {
			if b, err := os.ReadFile(a.objects); err == nil && strings.Contains(string(b), `"aws_subnet"`) {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	err := a.operator(t, c, "operator").EnsureNetwork(ctx, nil, network(c))
	if err == nil || !strings.Contains(err.Error(), "the next `ashlar up` goes on from it") {
		t.Fatalf("interrupted: %v", err)
	}
	if strings.Contains(a.snapshot(t), `"aws_autoscaling_group"`) {
		t.Fatal("it was not in its middle")
	}
	rest := planned(t, a, c)
	if !strings.Contains(rest, "group/worker: it does not exist") {
		t.Errorf("what is left to do is:\n%s", rest)
	}
	up(t, a, c)
	if left := planned(t, a, c); left != "" {
		t.Errorf("up has left:\n%s", left)
	}
}

// A lock that nobody holds any more is named, with who held it and what to do; which then works.
func TestLostLock(t *testing.T) {
	c := example(t, "aws-single")
	a := newAccount(t, c.Metadata.Name, c.Spec.Provider.AWS.Region)
	p := up(t, a, c)
	const id = "5f1c0f5e-6a3b-4d0e-9c55-0123456789ab"
	a.Change(func(cloud *awsapi.Cloud) {
		cloud.PutObject("single-"+accountID+"-state", "single/terraform.tfstate.tflock", []byte(`{"ID":"`+id+`","Operation":"OperationTypeApply",`+
			`"Info":"","Who":"alice@laptop","Version":"1.12.6","Created":"2027-01-31T09:00:00Z","Path":"single-`+accountID+`-state/single/terraform.tfstate"}`))
	})
	ctx := within(t, 5*time.Minute)
	_, err := p.NetworkDrift(ctx, nil, network(c))
	var locked aws.Locked
	if !errors.As(err, &locked) || locked.ID != id || locked.Who != "alice@laptop" {
		t.Fatalf("a state that is locked: %v", err)
	}
	if want := "ashlar up --unlock " + id; !strings.Contains(err.Error(), want) {
		t.Errorf("it does not say %q, but: %v", want, err)
	}
	p.Unlock = id
	if drift, err := p.NetworkDrift(ctx, nil, network(c)); err != nil || len(drift) > 0 {
		t.Errorf("after it is taken off: %v %s", err, words(drift))
	}
}

// Nothing that the operator keeps secret is in a plan, in the state or in what OpenTofu is given.
func TestNoSecretInPlanOrState(t *testing.T) {
	c := example(t, "aws-ha")
	a := newAccount(t, c.Metadata.Name, c.Spec.Provider.AWS.Region)
	dir := filepath.Join(a.root, "operator")
	secrets := operatorsSecrets(t, dir)
	p := up(t, a, c)
	plan, err := p.Plan(within(t, 5*time.Minute), network(c))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	state, ok := a.Object("ha-"+accountID+"-state", "ha/terraform.tfstate")
	if !ok {
		t.Fatal("there is no state")
	}
	texts := map[string]string{"the plan": string(text), "the state": string(state), "what AWS was told": a.snapshot(t)}
	err = filepath.WalkDir(filepath.Join(dir, "terraform"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		texts[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range texts {
		for name, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret of %s", where, name)
			}
		}
	}
	if !strings.Contains(texts["the plan"], "vault-2") || !strings.Contains(texts["the state"], "vault-2") || len(secrets) < 7 {
		t.Error("the test looks at nothing")
	}
}

// operatorsSecrets makes a directory as an operator's is, and reads all that is secret in it, and in the environment.
func operatorsSecrets(t *testing.T, dir string) map[string]string {
	t.Helper()
	for name, content := range map[string]any{
		"operator/unseal-keys.json": map[string]any{"keys": []string{rand.Text(), rand.Text()}, "root": rand.Text()},
		"operator/credential.json":  map[string]any{"role_id": rand.Text(), "secret_id": rand.Text()},
		"sessions/alice.json":       map[string]any{"token": rand.Text()},
	} {
		b, err := json.Marshal(content)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]string{"AWS_SECRET_ACCESS_KEY": os.Getenv("AWS_SECRET_ACCESS_KEY")}
	word := regexp.MustCompile(`[-_A-Za-z0-9+/=.]{16,}`)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for i, secret := range word.FindAllString(string(b), -1) {
			out[fmt.Sprintf("%s %d", path, i)] = secret
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

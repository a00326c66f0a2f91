package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/bucket"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/test/awsapi"
)

var (
	here   = instance{ID: "i-0123456789abcdef0", Address: netip.MustParseAddr("10.0.1.7")}
	vault0 = unit.Machine{Name: "vault-0", Role: v1alpha1.RoleVault, Address: netip.MustParseAddr("10.0.1.4")}
	moved  = unit.Machine{Name: "vault-0", Role: v1alpha1.RoleVault, Address: netip.MustParseAddr("10.0.1.5")}
)

func member() Facts {
	return Facts{Cluster: "demo", Region: "eu-west-1", Role: v1alpha1.RoleWorker, Pool: "worker",
		Attestation: &Attestation{Method: "aws", Mount: "demo/aws-pool", Role: "worker"}}
}

// A member of a group has its instance's name and its pool's document; what Vault has said goes before what the bucket and DNS say.
func TestBootOfMember(t *testing.T) {
	const name = "i-0123456789abcdef0.eu-west-1.compute.internal"
	me := unit.Machine{Name: name, Role: v1alpha1.RoleWorker, Address: here.Address}
	first := member().boot(Boot{}, here, []unit.Machine{vault0}, "from the bucket", unit.Desired{})
	want := Boot{Attestation: member().Attestation, Pool: "worker", VaultCA: "from the bucket",
		Desired: unit.Desired{Cluster: "demo", Region: "eu-west-1", Self: name, Machines: []unit.Machine{me, vault0}}}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("got  %+v\nwant %+v", first, want)
	}
	if first.document() != "worker" {
		t.Errorf("it reads the document of %s", first.document())
	}
	first.Revision = "raised by the operator"
	kept := unit.Desired{ID: "abc", Machines: []unit.Machine{moved}, CAs: map[unit.CA]string{unit.CAVault: "from Vault"}}
	then := member().boot(first, here, []unit.Machine{vault0}, "", kept)
	want.Revision, want.VaultCA, want.Desired.ID, want.Desired.Machines = "raised by the operator", "from Vault", "abc", []unit.Machine{me, moved}
	if !reflect.DeepEqual(then, want) {
		t.Errorf("got  %+v\nwant %+v", then, want)
	}
}

// A machine that the file names has that name, whatever the instance is called, and Vault's first machine finds itself once.
func TestBootOfFixedMachine(t *testing.T) {
	f := member()
	f.Role, f.Pool, f.Machine = v1alpha1.RoleVault, "", "vault-0"
	b := f.boot(Boot{}, here, []unit.Machine{vault0}, "", unit.Desired{})
	if me := b.Desired.Me(); me.Name != "vault-0" || me.Address != here.Address || len(b.Desired.Machines) != 1 || b.document() != "vault-0" || b.VaultCA != "" {
		t.Errorf("%+v", b)
	}
}

// The document of a pool becomes that of a member, which may be listed in it already.
func TestAs(t *testing.T) {
	me := unit.Machine{Name: "i-1.eu-west-1.compute.internal", Role: v1alpha1.RoleWorker, Address: here.Address}
	for _, listed := range [][]unit.Machine{{vault0}, {me, vault0}} {
		d := unit.Desired{Self: "worker", Machines: listed}.As(me)
		if d.Me() != me || len(d.Machines) != 2 {
			t.Errorf("%+v", d)
		}
	}
}

// What the image has in /etc/hosts stays, and our lines are there once.
func TestHostsAmongOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("127.0.0.1 localhost\n10.9.9.9 somewhere"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := unit.Desired{Region: "eu-west-1", Machines: []unit.Machine{vault0, {Name: "api.demo.internal", Role: v1alpha1.RoleLB, Address: here.Address}}}
	for _, m := range []unit.Machine{vault0, vault0, moved} {
		d.Machines[0] = m
		if err := writeHosts(path, d); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := "127.0.0.1 localhost\n10.9.9.9 somewhere\n" + hostsBegin + "127.0.0.1 localhost\n" + m.Address.String() + " vault-0 vault\n" + hostsEnd
		if string(b) != want {
			t.Errorf("got\n%s\nwant\n%s", b, want)
		}
	}
	d.Region = ""
	if err := writeHosts(path, d); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "somewhere") {
		t.Errorf("on this host the file is not ours alone:\n%s", b)
	}
}

// somewhere is a place whose bucket is in a stand-in for S3.
func somewhere(t *testing.T) (*place, *awsapi.Objects) {
	t.Helper()
	key := awsapi.Key{ID: "ASIA1", Secret: "s", Token: "t"}
	o := awsapi.NewObjects("eu-west-1", key)
	s := httptest.NewTLSServer(o)
	t.Cleanup(s.Close)
	f := member()
	f.Machine, f.Vault.CA = "vault-0", "s3://demo-bundle/demo/vault-ca.pem"
	return &place{facts: f, self: here, bucket: bucket.New(f.Region, aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Token}, nil
	}), &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the names are S3's
	})}, o
}

// Until there is a Vault its CA is waited for; once the machine has one, the bucket may be away; and what Vault itself has said is
// never asked for there again.
func TestVaultCA(t *testing.T) {
	p, o := somewhere(t)
	const object = "demo-bundle/demo/vault-ca.pem"
	if ca, err := p.vaultCA(t.Context(), Boot{}, unit.Desired{}); !errors.Is(err, fs.ErrNotExist) || ca != "" || !strings.Contains(err.Error(), "wait for Vault's CA") {
		t.Errorf("before there is one: %q, %v", ca, err)
	}
	o.Put(object, []byte("a CA"))
	if ca, err := p.vaultCA(t.Context(), Boot{}, unit.Desired{}); err != nil || ca != "a CA" {
		t.Errorf("when there is one: %q, %v", ca, err)
	}
	o.Away(true)
	if ca, err := p.vaultCA(t.Context(), Boot{VaultCA: "a CA"}, unit.Desired{}); err != nil || ca != "" {
		t.Errorf("with the bucket away: %q, %v", ca, err)
	}
	if _, err := p.vaultCA(t.Context(), Boot{}, unit.Desired{}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bucket that is away has no CA: %v", err)
	}
	asked := o.Asked(object)
	if ca, err := p.vaultCA(t.Context(), Boot{}, unit.Desired{CAs: map[unit.CA]string{unit.CAVault: "another"}}); err != nil || ca != "" || o.Asked(object) != asked {
		t.Errorf("with Vault's own: %q, %v", ca, err)
	}
}

// A Vault machine publishes each of its certificates once, and again if that failed.
func TestPublish(t *testing.T) {
	p, o := somewhere(t)
	const object = "demo-bundle/demo/vault/vault-0.pem"
	o.Away(true)
	if err := p.publish(t.Context(), []byte("one")); err == nil {
		t.Error("it says nothing of a bucket that is away")
	}
	o.Away(false)
	for _, cert := range []string{"one", "two"} {
		if err := errors.Join(p.publish(t.Context(), []byte(cert)), p.publish(t.Context(), []byte(cert))); err != nil {
			t.Error(err)
		}
		if got, _ := o.Get(object); string(got) != cert {
			t.Errorf("the bucket has %q, want %q", got, cert)
		}
	}
	asked := o.Asked(object)
	if err := p.publish(t.Context(), []byte("two")); err != nil || o.Asked(object) != asked {
		t.Errorf("it is put again and again: %v", err)
	}
}

package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
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

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/bucket"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Facts are what the user data of a cloud's instance says. Nobody can reach its disk before it boots, and members of a group
// all have the same: the agent makes the boot document of them, with what it finds out about its instance. They hold no secret.
type Facts struct {
	Cluster string        `json:"cluster"`
	Region  string        `json:"region"`
	Role    v1alpha1.Role `json:"role"`
	// Machine is the name of a machine that the file names, Pool that of the group that it is one of: one of the two.
	Machine string `json:"machine"`
	Pool    string `json:"pool"`
	Vault   struct {
		// Addresses are names in DNS; the first label is the machine's.
		Addresses []string `json:"addresses"`
		// CA is an object with Vault's CA, there as soon as there is one.
		CA string `json:"ca"`
	} `json:"vault"`
	Bundle struct {
		Location string `json:"location"`
		Digest   string `json:"digest"`
	} `json:"bundle"`
	Attestation *Attestation `json:"attestation"`
}

// Attestation is how a machine proves which one it is, if not by an init token.
type Attestation struct {
	Method string `json:"method"` // aws
	Mount  string `json:"mount"`  // of the auth method in Vault
	Role   string `json:"role"`   // to log in as
}

// FactsFile is where the user data puts them.
const FactsFile = "/etc/ashlar/facts.json"

// instance is what the metadata service says of this machine.
type instance struct {
	ID      string     `json:"id"`
	Address netip.Addr `json:"address"`
}

// instanceFile keeps it until the machine reboots: where pods run, policy soon refuses to let anybody ask again.
const instanceFile = "/run/ashlar/instance.json"

// place is the instance that the agent runs on, and what it has of the world before it knows Vault.
type place struct {
	facts  Facts
	self   instance
	bucket *bucket.Client
	// published is the certificate that the bucket has of this machine.
	published string
}

// name is the machine's: one that nobody else has, and that Vault derives from what AWS signs.
func (f Facts) name(i instance) string {
	if f.Pool != "" {
		return vault.MemberName(i.ID, f.Region)
	}
	return f.Machine
}

// boot completes a boot document, of which the operator may have written a part, or there may be an earlier one. vaults are
// machines, ca is what the bucket has; what the kept document says of either is newer.
func (f Facts) boot(b Boot, i instance, vaults []unit.Machine, ca string, kept unit.Desired) Boot {
	b.Attestation, b.Pool = f.Attestation, f.Pool
	me := unit.Machine{Name: f.name(i), Role: f.Role, Address: i.Address}
	b.Desired.Cluster, b.Desired.Region, b.Desired.Self, b.Desired.ID = f.Cluster, f.Region, me.Name, kept.ID
	if known := kept.WithRole(v1alpha1.RoleVault); len(known) > 0 {
		vaults = known
	}
	b.Desired.Machines = []unit.Machine{me}
	for _, v := range vaults {
		if v.Name != me.Name {
			b.Desired.Machines = append(b.Desired.Machines, v)
		}
	}
	if known := kept.CAs[unit.CAVault]; known != "" {
		ca = known
	}
	if ca != "" {
		b.VaultCA = ca
	}
	return b
}

// settle makes the boot document, where there are facts instead of an operator who writes one. All that reads it may then
// be as on any other machine.
func (a *Agent) settle(ctx context.Context, k kept) error {
	if a.place == nil {
		p, err := arrive(ctx)
		if p == nil || err != nil {
			return err
		}
		a.place = p
	}
	f := a.place.facts
	var have Boot
	if err := loadJSON(unit.BootFile, &have); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("the boot document is made anew", "because", err)
	}
	var vaults []unit.Machine
	if len(k.Desired.WithRole(v1alpha1.RoleVault)) == 0 {
		var err error
		if vaults, err = resolve(ctx, f.Vault.Addresses); err != nil {
			return err
		}
	}
	ca, problem := a.place.vaultCA(ctx, have, k.Desired)
	want := f.boot(have, a.place.self, vaults, ca, k.Desired)
	if reflect.DeepEqual(want, have) {
		return problem
	}
	content, err := json.Marshal(want)
	if err != nil {
		return err
	}
	return errors.Join(problem, writeFile(unit.BootFile, content, 0o600))
}

// arrive finds out where the agent is; nil if no user data says.
func arrive(ctx context.Context) (*place, error) {
	var f Facts
	err := loadJSON(FactsFile, &f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (f.Cluster == "" || (f.Machine == "") == (f.Pool == "") || f.Attestation == nil) {
		err = fmt.Errorf("%s names no cluster, no machine or pool, or no attestation: see the instance's user data", FactsFile)
	}
	if err != nil {
		return nil, err
	}
	client := metadata()
	p := &place{facts: f, bucket: bucket.New(f.Region, ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }), nil)}
	if loadJSON(instanceFile, &p.self) == nil {
		return p, nil
	}
	if p.self, err = introduced(ctx, client); err != nil {
		return nil, err
	}
	b, err := json.Marshal(p.self)
	if err != nil {
		return nil, err
	}
	return p, writeFile(instanceFile, b, 0o600)
}

// introduced asks the metadata service which instance this is.
func introduced(ctx context.Context, client *imds.Client) (i instance, err error) {
	if i.ID, err = ask(ctx, client, "instance-id"); err != nil {
		return i, err
	}
	address, err := ask(ctx, client, "local-ipv4")
	if err == nil {
		i.Address, err = netip.ParseAddr(address)
	}
	return i, err
}

// metadata is the instance's metadata service, which is only spoken to with a session's token.
func metadata() *imds.Client {
	return imds.New(imds.Options{EnableFallback: aws.FalseTernary, HTTPClient: &http.Client{Timeout: 5 * time.Second}})
}

func ask(ctx context.Context, client *imds.Client, path string) (string, error) {
	out, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", fmt.Errorf("ask the metadata service for %s: %w", path, err)
	}
	defer out.Content.Close() // only read
	b, err := io.ReadAll(io.LimitReader(out.Content, 1<<16))
	return string(b), err
}

// resolve asks DNS for machines.
func resolve(ctx context.Context, names []string) ([]unit.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var out []unit.Machine
	for _, name := range names {
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return nil, fmt.Errorf("find Vault: %w", err)
		}
		label, _, _ := strings.Cut(name, ".")
		out = append(out, unit.Machine{Name: label, Role: v1alpha1.RoleVault, Address: addresses[0].Unmap()})
	}
	return out, nil
}

// vaultCA reads what the bucket has, until something of Vault's own is known. Before there is a Vault there is nothing.
func (p *place) vaultCA(ctx context.Context, have Boot, kept unit.Desired) (string, error) {
	if kept.CAs[unit.CAVault] != "" {
		return "", nil
	}
	l, err := bucket.Parse(p.facts.Vault.CA)
	if err != nil {
		return "", err
	}
	content, err := p.bucket.Get(ctx, l)
	if err == nil {
		return string(content), nil
	}
	if have.VaultCA != "" {
		return "", nil // one that it was given before will do
	}
	return "", fmt.Errorf("wait for Vault's CA: %w", err)
}

// announce publishes the certificate that a Vault machine has signed for itself: `ashlar up` pins it, until Vault has one of
// its own CA. Only this machine can write there, and only an operator reads it.
func (a *Agent) announce(ctx context.Context) error {
	if a.place == nil || a.place.facts.Role != v1alpha1.RoleVault {
		return nil
	}
	own, err := os.ReadFile(unit.ProfilesOf(v1alpha1.RoleVault)[0].For(a.place.facts.Machine).CertFile())
	if err != nil {
		return err
	}
	return a.place.publish(ctx, own)
}

// publish puts a certificate of this machine beside Vault's CA, unless it is there.
func (p *place) publish(ctx context.Context, own []byte) error {
	if string(own) == p.published {
		return nil
	}
	l, err := bucket.Parse(p.facts.Vault.CA)
	if err != nil {
		return err
	}
	if err := p.bucket.Put(ctx, l.Beside("vault/"+p.facts.Machine+".pem"), own); err != nil {
		return err
	}
	p.published = string(own)
	return nil
}

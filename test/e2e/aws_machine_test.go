package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"

	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/local"
	"ashlar.dev/ashlar/internal/vault"
	"ashlar.dev/ashlar/test/awsapi"
)

const (
	awsAccount, awsRegion, awsVPC = "111122223333", "eu-west-1", "vpc-0a"
	// awsMachine is what the local provider calls the machine, which calls itself by its instance.
	awsMachine = "instance-0"
	awsPool    = "spot"
)

// boardScript has a machine of the local provider be a board of EC2 with an image on it: systemd is its first process, nothing of
// Ashlar is on its disk, and what programs read of the firmware is EC2's. systemd knows that it is in a container, so that it leaves
// the kernel, which is this host's too, alone; cloud-init, which would then not look at the firmware, does not.
const boardScript = `set -e
umount /opt/ashlar/bundle
rmdir /opt/ashlar/bundle /opt/ashlar
mkdir -p /run/host /run/board /etc/systemd/system/cloud-init.target.wants
echo board > /run/host/container-manager
if [ -d /sys/class/dmi/id ]; then
  mount -t tmpfs tmpfs /sys/class/dmi/id
  echo %[1]s > /sys/class/dmi/id/product_uuid
  echo %[1]s > /sys/class/dmi/id/product_serial
  echo 'Amazon EC2' > /sys/class/dmi/id/sys_vendor
fi
printf '#!/bin/sh\ncase "$*" in *system-uuid*|*system-serial-number*) echo %[1]s;; *system-manufacturer*) echo "Amazon EC2";; *) echo;; esac\n' > /run/board/dmidecode
printf '#!/bin/sh\necho none\nexit 1\n' > /run/board/systemd-detect-virt
chmod +x /run/board/*
mount --bind /run/board /usr/local/sbin
if [ -e /usr/sbin/dhclient ]; then mount --bind /dev/null /usr/sbin/dhclient; fi
for s in cloud-init-local cloud-init cloud-config cloud-final; do
  ln -sf /lib/systemd/system/$s.service /etc/systemd/system/cloud-init.target.wants/
done
for s in systemd-udevd systemd-udev-trigger getty@tty1 console-getty; do ln -sf /dev/null /etc/systemd/system/$s.service; done
exec /lib/systemd/systemd
`

// boardFiles are of the image and the board: cloud-init as its package has it, told that its network is there already.
func boardFiles(t *testing.T, hosts string, ca []byte) []provider.File {
	t.Helper()
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: the machine boots by cloud-init (apt-get install cloud-init; `make e2e` does it)", err)
		}
		return b
	}
	file := func(path string, content []byte) provider.File {
		return provider.File{Path: path, Mode: 0o644, Content: content}
	}
	return []provider.File{
		file("/etc/cloud/cloud.cfg", read("/etc/cloud/cloud.cfg")),
		file("/etc/cloud/cloud.cfg.d/05_logging.cfg", read("/etc/cloud/cloud.cfg.d/05_logging.cfg")),
		file("/etc/cloud/cloud.cfg.d/99_board.cfg", []byte("datasource_list: [Ec2]\nnetwork: {config: disabled}\ngrowpart: {mode: 'off'}\nresize_rootfs: false\nlocale: C.UTF-8\n")),
		file("/etc/cloud/ds-identify.cfg", []byte("datasource: Ec2\npolicy: enabled\n")),
		file("/etc/default/locale", nil),
		file("/etc/hosts", []byte("127.0.0.1 localhost\n"+hosts)),
		file("/etc/ssl/certs/ca-certificates.crt", append(read("/etc/ssl/certs/ca-certificates.crt"), ca...)),
	}
}

// awsStage is what stands in for AWS around the shared cluster: metadata services by machine, S3 and the other APIs on the internet.
type awsStage struct {
	t       *testing.T
	cluster *phase.Cluster
	target  *claim.Target
	board   *local.Provider // its machines boot as EC2's do
	cloud   *awsapi.Cloud
	signer  *awsapi.Signer
	objects *awsapi.Objects
	key     awsapi.Key
	bucket  string
	ca      []byte
	console map[string]*awsapi.IMDS // by address
	id      string                  // of the instance
	machine provider.Machine
}

func newAWSStage(t *testing.T) *awsStage {
	t.Helper()
	s := &awsStage{t: t, cluster: open(t), target: target(t), console: map[string]*awsapi.IMDS{}, bucket: name + "-" + awsAccount + "-bundle",
		key: awsapi.Key{ID: "ASIA" + rand.Text()[:16], Secret: rand.Text() + "/+", Token: rand.Text()}}
	s.id = "i-0" + strings.ToLower(fmt.Sprintf("%x", rand.Text()))[:16]
	var err error
	s.board, err = local.New(local.Options{Cluster: name, Dir: s.cluster.Dir, Bundle: s.cluster.Bundle.Dir,
		MachineCIDR: netip.MustParsePrefix(s.cluster.Spec.Spec.Provider.Local.MachineCIDR),
		Init:        []string{"/bin/sh", "-c", fmt.Sprintf(boardScript, "ec2"+strings.TrimPrefix(s.id, "i-"))}})
	s.must(err)
	cloud, stop := awsapi.Serve(awsAccount, awsRegion)
	t.Cleanup(stop)
	s.cloud = cloud
	s.signer, err = awsapi.NewSigner(awsRegion)
	s.must(err)
	s.cloud.Change(func(c *awsapi.Cloud) { c.Keys[s.key.ID] = s.key.Secret })
	s.objects = awsapi.NewObjects(awsRegion, s.key)
	s.serve("198.51.100.1:443", s.cloud)
	s.serveTLS("203.0.113.1:443", s.objects)
	s.serve("169.254.169.254:80", nil)
	return s
}

func (s *awsStage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// reserve gives the machine its address, and tells the fabric of it; of the rules, those that why names are left out.
func (s *awsStage) connect(without ...string) {
	s.t.Helper()
	machines, err := s.board.Reserve(s.t.Context(), []v1alpha1.Machine{{Name: awsMachine, Role: v1alpha1.RoleWorker}})
	s.must(err)
	rules := slices.DeleteFunc(phase.Rules(s.cluster.Spec), func(r provider.Rule) bool {
		return r.From == v1alpha1.RoleWorker && slices.Contains(without, r.Why)
	})
	s.must(s.board.EnsureNetwork(s.t.Context(), machines, provider.Network{Rules: rules, Trusted: s.cluster.Spec.Spec.Exposure.Trusted()}))
	s.machine = machines[slices.IndexFunc(machines, func(m provider.Machine) bool { return m.Name == awsMachine })]
}

// serve answers at an address of the internet, or as the metadata service of whoever asks.
func (s *awsStage) serve(address string, h http.Handler) {
	s.t.Helper()
	from := provider.FromInternet
	if h == nil {
		from = provider.FromOperator
	}
	l, err := s.board.Listen(s.t.Context(), from, "tcp", address)
	s.must(err)
	if h == nil {
		s.t.Cleanup(awsapi.ServeEach(l, func(a netip.Addr) *awsapi.IMDS { return s.console[a.String()] }))
		return
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // until Close
	s.t.Cleanup(func() { _ = server.Close() })
}

// serveTLS answers for S3, with a certificate of a CA that the image trusts.
func (s *awsStage) serveTLS(address string, h http.Handler) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in for S3"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.s3." + awsRegion + ".amazonaws.com"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	l, err := s.board.Listen(s.t.Context(), provider.FromInternet, "tcp", address)
	s.must(err)
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go func() { _ = server.ServeTLS(l, "", "") }() // until Close
	s.t.Cleanup(func() { _ = server.Close() })
}

// launch describes an instance to EC2 and to itself.
func (s *awsStage) launch(id, of string, address netip.Addr, userData string) {
	s.t.Helper()
	profile := vault.InstanceProfile(name, of)
	s.cloud.Change(func(c *awsapi.Cloud) {
		c.Instances[id] = awsapi.Instance{State: "running", VPC: awsVPC, Image: "ami-1", Address: address.String(),
			Profile: "arn:aws:iam::" + awsAccount + ":instance-profile/" + profile}
	})
	document := awsapi.Document{Account: awsAccount, Instance: id, Region: awsRegion, Image: "ami-1", Address: address.String(), Pending: time.Now()}.Encode()
	signed, err := s.signer.PKCS7(document)
	s.must(err)
	m, err := awsapi.NewIMDS(awsapi.Describe{ID: id, Region: awsRegion, Zone: awsRegion + "a", Account: awsAccount, Image: "ami-1", Type: "m7i.large",
		Address: address.String(), Profile: profile, UserData: userData, Key: s.key, Document: string(document), PKCS7: signed})
	s.must(err)
	s.console[address.String()] = m
}

// enable has Vault know the pool: all that a layout with it has beyond the one without, save what concerns machines that are there.
func (s *awsStage) enable() {
	s.t.Helper()
	d, pki := s.target.Desired, s.cluster.Spec.Spec.PKI
	in := vault.Input{Cluster: name, ID: s.cluster.ID, Machines: d.Machines, LeafTTL: pki.LeafTTL.Duration, CATTL: pki.CATTL.Duration,
		InitTokenTTL: pki.InitTokenTTL.Duration, AdminTTL: pki.AdminTTL.Duration, SSH: s.cluster.Spec.Spec.SSH, SSHEngines: s.target.SSH,
		OperatorAddress: netip.MustParsePrefix(d.MachineCIDR).Masked().Addr().Next(), ServiceIP: d.KubernetesServiceIP()}
	plain := vault.Layout(in)
	const endpoint = "http://198.51.100.1:443"
	in.AWS = &vault.AWS{Account: awsAccount, Region: awsRegion, VPC: awsVPC, CIDR: netip.MustParsePrefix(d.MachineCIDR),
		Pools: []vault.AWSPool{{Name: awsPool, Role: v1alpha1.RoleWorker}}, Certificates: map[string]string{"test": s.signer.Certificate()},
		Endpoints: vault.AWSEndpoints{EC2: endpoint, IAM: endpoint, STS: endpoint}}
	want := vault.Layout(in)
	want.Objects = slices.DeleteFunc(want.Objects, func(o vault.Object) bool {
		return o.Kind == vault.KindEntity || slices.ContainsFunc(plain.Objects, func(p vault.Object) bool { return reflect.DeepEqual(p, o) })
	})
	keys, err := vault.ReadKeys(filepath.Join(s.cluster.Dir, "operator", "unseal-keys.json"))
	s.must(err)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.must(s.target.Vault.WithRoot(ctx, keys, func(root *vault.Client) error {
		have, err := vault.Observe(ctx, root, want)
		if err != nil {
			return err
		}
		have.Objects = slices.DeleteFunc(have.Objects, func(o vault.Object) bool {
			return !slices.ContainsFunc(want.Objects, func(w vault.Object) bool { return w.Kind == o.Kind && w.Path == o.Path })
		})
		return vault.Apply(ctx, root, vault.Diff(want, have))
	}))
}

// userData renders the template of terraform/aws for the pool; more goes before what is said of it.
func (s *awsStage) userData(digest, key string, more map[string]any) string {
	s.t.Helper()
	template, err := filepath.Abs("../../terraform/aws/user-data.yaml.tftpl")
	s.must(err)
	variables := map[string]any{"cluster": name, "region": awsRegion, "role": "worker", "machine": "", "pool": awsPool,
		"vault_addresses": []string{"vault-0." + name + ".internal"}, "bundle_bucket": s.bucket, "bundle_key": key, "bundle_digest": digest,
		"attestation_mount": vault.AWSPoolPath(name), "attestation_role": awsPool, "data": false, "packages": []string{}}
	maps.Copy(variables, more)
	b, err := json.Marshal(variables)
	s.must(err)
	return render(s.t, s.cluster.Bundle.File("tofu"), template, string(b))
}

// render has tofu render a template, as a plan does.
func render(t *testing.T, tofu, template, variables string) string {
	t.Helper()
	for _, other := range []string{"tofu", "terraform"} {
		if path, err := exec.LookPath(other); tofu == "" && err == nil {
			tofu = path
		}
	}
	if tofu == "" {
		t.Fatal("no tofu renders the user data: `make bundle` builds one")
	}
	dir := t.TempDir()
	// What it says of a configuration of this host's would be among what it renders.
	own := []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	file := fmt.Sprintf("output \"rendered\" {\n  value = templatefile(%q, jsondecode(file(\"variables.json\")))\n}\n", template)
	for name, content := range map[string]string{"main.tf": file, "variables.json": variables} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-input=false"}, {"apply", "-input=false", "-auto-approve"}} {
		cmd := exec.CommandContext(t.Context(), tofu, append([]string{"-chdir=" + dir}, args...)...)
		cmd.Env = own
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", tofu, args, err, out)
		}
	}
	output := exec.CommandContext(t.Context(), tofu, "-chdir="+dir, "output", "-raw", "rendered")
	output.Env = own
	out, err := output.Output()
	if err != nil {
		t.Fatalf("%s output: %v", tofu, err)
	}
	return string(out)
}

// power has the machine boot, with a disk that nobody has written to since its image was put there.
func (s *awsStage) power() {
	s.t.Helper()
	hosts := fmt.Sprintf("203.0.113.1 %s.s3.%s.amazonaws.com\n", s.bucket, awsRegion)
	for _, m := range s.target.Desired.WithRole(v1alpha1.RoleVault) {
		hosts += fmt.Sprintf("%s %s.%s.internal\n", m.Address, m.Name, name)
	}
	s.must(s.board.Start(s.t.Context(), s.machine, boardFiles(s.t, hosts, s.ca)))
}

// on runs a command on the machine.
func (s *awsStage) on(args ...string) (string, error) {
	var out strings.Builder
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	err := s.board.Exec(ctx, awsMachine, provider.Exec{Args: args, Stdout: &out, Stderr: &out})
	return out.String(), err
}

// says waits until the journal of a service of the machine has some words.
func (s *awsStage) says(service, words string, within time.Duration) {
	s.t.Helper()
	eventually(s.t, within, func() error {
		out, err := s.on("journalctl", "--no-pager", "--output=cat", "--unit="+service)
		if err == nil && !strings.Contains(out, words) {
			err = fmt.Errorf("%s does not say %q:\n%s", service, words, out[max(0, len(out)-3000):])
		}
		return err
	})
}

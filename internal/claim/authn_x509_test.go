package claim

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

func TestTrusts(t *testing.T) {
	kubernetes, next, front, etcd := newRoot(t, "demo kubernetes"), newRoot(t, "demo kubernetes"), newRoot(t, "demo front-proxy"), newRoot(t, "demo etcd-k8s")
	cas := map[unit.CA]string{unit.CAKubernetes: pemOf(kubernetes.cert), unit.CAFrontProxy: pemOf(front.cert), unit.CAEtcdKubernetes: pemOf(etcd.cert)}
	rolling := map[unit.CA]string{unit.CAKubernetes: pemOf(kubernetes.cert, next.cert), unit.CAFrontProxy: pemOf(front.cert)}
	api := plane{name: "kube-apiserver", ca: unit.CAKubernetes, accepts: []unit.CA{unit.CAKubernetes, unit.CAFrontProxy}}
	kubelet := plane{name: "kubelet worker-0", ca: unit.CAKubernetes, accepts: []unit.CA{unit.CAKubernetes}}
	names := func(roots ...root) [][]byte {
		var out [][]byte
		for _, r := range roots {
			out = append(out, r.cert.RawSubject)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		plane plane
		asked [][]byte
		cas   map[unit.CA]string
		want  Expectation
		says  string
	}{
		{"its own", kubelet, names(kubernetes), cas, Refused, "it names 1"},
		{"both of its own", api, names(front, kubernetes), cas, Refused, "it names 2"},
		{"one of its own", api, names(kubernetes), cas, Refused, "it names 1"},
		{"none, so any", kubelet, nil, cas, Allowed, "it names none"},
		{"another of the cluster's", kubelet, names(kubernetes, front), cas, Allowed, "demo front-proxy"},
		{"another instead of its own", kubelet, names(etcd), cas, Allowed, "demo etcd-k8s"},
		{"a stranger first", api, names(newRoot(t, "mallory"), kubernetes, front), cas, Allowed, "mallory"},
		{"a stranger of its own CA's name", kubelet, names(kubernetes, next), cas, Allowed, "demo kubernetes"},
		{"two of one name while keys are rolled", kubelet, names(kubernetes, next), rolling, Refused, "it names 2"},
		{"what is no name at all", kubelet, [][]byte{kubernetes.cert.RawSubject, []byte("x")}, cas, Allowed, "it also trusts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.asked)
			e := trusts(c.plane, c.asked, c.cas)
			if e.Want != Refused || e.Got != c.want || !strings.Contains(e.Answer, c.says) {
				t.Errorf("got %s (%s), want %s (%s)", e.Got, e.Answer, c.want, c.says)
			}
			if !slices.EqualFunc(before, c.asked, bytes.Equal) {
				t.Error("it changed what was asked")
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	a, b := newRoot(t, "a"), newRoot(t, "b")
	for name, c := range map[string]struct {
		text string
		want []*x509.Certificate
	}{
		"none":                     {"", nil},
		"text":                     {"to be done", nil},
		"two":                      {pemOf(a.cert, b.cert), []*x509.Certificate{a.cert, b.cert}},
		"one among other things":   {"first\n" + pemOf(a.cert) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", []*x509.Certificate{a.cert}},
		"the second one cut short": {pemOf(a.cert) + pemOf(b.cert)[:100], []*x509.Certificate{a.cert}},
	} {
		if got := certificates(c.text); !slices.EqualFunc(got, c.want, (*x509.Certificate).Equal) {
			t.Errorf("%s: got %d certificates, want %d", name, len(got), len(c.want))
		}
	}
}

// TestForgeries: each is as good as a forgery can be, and wrong in what its name says. A server that looked only at
// names would let all of them in.
func TestForgeries(t *testing.T) {
	r := newRoot(t, "demo kubernetes")
	target := &Target{Desired: unit.Desired{CAs: map[unit.CA]string{unit.CAKubernetes: pemOf(r.cert)}}, Now: func() time.Time { return noon }}
	all, err := forgeries(target)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(r.cert)
	found := map[string]*x509.Certificate{}
	for _, h := range all {
		c, err := x509.ParseCertificate(h.cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		found[h.name] = c
		if h.ca != "" {
			t.Errorf("%s counts as one of CA %s: it would be expected to be let in", h.name, h.ca)
		}
		if c.Subject.CommonName != "admin" || !slices.Contains(c.Subject.Organization, "system:masters") || !slices.Contains(c.Subject.Organization, unit.GroupAdmins) {
			t.Errorf("%s claims to be only %s", h.name, c.Subject)
		}
		options := x509.VerifyOptions{Roots: pool, CurrentTime: c.NotAfter.Add(-time.Minute), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := c.Verify(options); err == nil {
			t.Errorf("%s is no forgery", h.name)
		}
		if expired := strings.Contains(h.name, "expired"); noon.After(c.NotAfter) != expired || noon.Before(c.NotBefore) {
			t.Errorf("%s is good from %s to %s", h.name, c.NotBefore, c.NotAfter)
		}
	}
	for _, name := range []string{"admin, forged under the CA's own name", "admin, forged and expired"} {
		if c := found[name]; c == nil || !bytes.Equal(c.RawIssuer, r.cert.RawSubject) || !bytes.Equal(c.AuthorityKeyId, r.cert.SubjectKeyId) {
			t.Errorf("%s does not look as if the CA had issued it", name)
		}
	}
	if c := found["admin, of another CA"]; c == nil || c.Issuer.CommonName != "another CA" {
		t.Error("none is of another CA")
	}
	if c := found["admin, self-signed"]; c == nil || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
		t.Error("none is signed by itself")
	}
	target.Desired.CAs = nil
	if _, err := forgeries(target); err == nil {
		t.Error("forged the certificate of a CA that is not there")
	}
}

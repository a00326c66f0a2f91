package claim

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// RefusedWithin is how soon every plane refuses what was revoked.
const RefusedWithin = 10 * time.Second

var pkiRevocation = Claim{
	ID:    "pki-revocation",
	Says:  "Handles leasing, key revocation, key rolling … credentials expire after an EC2 instance is no longer available",
	Holds: "what is revoked is refused by every API server, kubelet and etcd and by Vault within 10 seconds, on open connections too; nothing else is",
	Probe: probeRevocation,
}

// Taken is a certificate that is to be taken back.
type Taken struct {
	CA          unit.CA
	Certificate string // PEM
	// Sever is from where connections to etcd end that are open.
	Sever netip.Prefix
}

// thrownAway is a credential that was made for the probe: the key is in its memory and nowhere else.
type thrownAway struct {
	name string
	ca   unit.CA
	pem  string
	pair tls.Certificate
}

// probeRevocation obtains credentials of every kind, uses them, has them revoked, and goes on until each plane refuses them. A
// twin of each that was not revoked must still be let in.
func probeRevocation(ctx context.Context, t *Target) (evidence []Evidence, err error) {
	machine := t.Desired.WithRole(v1alpha1.RoleControlPlane)[0]
	session, accessor, err := t.borrowSession(ctx, machine.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = session.RevokeSelf(context.WithoutCancel(ctx))
		session.Close()
	}()
	stolen, twins, err := t.throwaways(ctx, session)
	if err != nil {
		return nil, err
	}
	doors := t.doors(machine.Name, session.Token())
	for _, d := range doors {
		e, err := d.try(ctx, stolen, "before it is revoked", Allowed)
		if err != nil || !e.Held() {
			return []Evidence{e}, err
		}
		evidence = append(evidence, e)
	}
	var taken []Taken
	for _, c := range slices.Concat(stolen, twins) {
		taken = append(taken, Taken{CA: c.ca, Certificate: c.pem, Sever: netip.MustParsePrefix("127.0.0.1/32")})
	}
	defer func() { // nobody can use them any more: they need not be remembered
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		_ = t.Forget(late, taken)
	}()
	began := time.Now()
	if err := errors.Join(t.Revoke(ctx, taken[:len(stolen)]), t.Vault.EndToken(ctx, accessor)); err != nil {
		return nil, err
	}
	refused := make([]Evidence, len(doors))
	g, gctx := errgroup.WithContext(ctx)
	for i, d := range doors {
		g.Go(func() (err error) {
			refused[i], err = d.until(gctx, stolen, began)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	evidence = append(evidence, refused...)
	for _, d := range doors {
		if d.once {
			continue // the twin of a session and of a connection are everybody else's
		}
		e, err := d.try(ctx, twins, "with another that was not revoked", Allowed)
		if err != nil {
			return nil, err
		}
		evidence = append(evidence, e)
	}
	return evidence, nil
}

// borrowSession logs in as a machine, beside it.
func (t *Target) borrowSession(ctx context.Context, machine string) (*vault.Client, string, error) {
	here, err := t.vaultFrom(ctx, machine)
	if err != nil {
		return nil, "", err
	}
	token, err := t.Vault.IssueInitToken(ctx, machine, time.Minute)
	if err != nil {
		return nil, "", err
	}
	session, login, err := here.LoginMachine(ctx, machine, token)
	return session, login.Accessor, err
}

// throwaways has Vault sign two certificates of each kind.
func (t *Target) throwaways(ctx context.Context, session *vault.Client) (stolen, twins []thrownAway, err error) {
	for _, kind := range []struct {
		from *vault.Client
		role v1alpha1.Role
		ca   unit.CA
		name string
	}{
		{t.Vault, unit.RoleOperator, unit.CAKubernetes, "admin"},
		{session, v1alpha1.RoleControlPlane, unit.CAEtcdKubernetes, "kube-apiserver"},
		{session, v1alpha1.RoleControlPlane, unit.CAEtcdOverlay, "calico-kube-controllers"},
	} {
		i := slices.IndexFunc(unit.Profiles, func(p unit.Profile) bool { return p.CA == kind.ca && p.Name == kind.name && p.Role == kind.role })
		for _, into := range []*[]thrownAway{&stolen, &twins} {
			key, csr, err := keyAndRequest()
			if err != nil {
				return nil, nil, err
			}
			cert, err := kind.from.Sign(ctx, unit.Profiles[i], csr)
			if err != nil {
				return nil, nil, err
			}
			pair, err := tls.X509KeyPair([]byte(cert.Chain), []byte(key))
			if err != nil {
				return nil, nil, err
			}
			*into = append(*into, thrownAway{kind.name, kind.ca, cert.Chain, pair})
		}
	}
	return stolen, twins, nil
}

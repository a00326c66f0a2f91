package phase

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	authorizationv1 "k8s.io/api/authorization/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// kubeAccess is the operator's way to the API: a certificate of hours in a group that RBAC knows.
type kubeAccess struct{ config *rest.Config }

// Access is where the API is, and the CA to expect there, as PEM.
type Access struct{ Server, CA string }

// Credential is a certificate and its key, as PEM, and where they are good.
type Credential struct {
	Access
	Cert, Key []byte
}

// newRequest makes a key in memory and a CSR for it.
func newRequest() (keyPEM, csrPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), nil
}

// Access returns where the API is.
func (c *Cluster) Access(ctx context.Context) (Access, error) {
	cas, err := c.authorities(ctx)
	if err != nil {
		return Access{}, err
	}
	server, err := c.APIServerURL(ctx)
	return Access{Server: server, CA: cas[unit.CAKubernetes]}, err
}

// Admin has Vault sign a credential for an administrator.
func (c *Cluster) Admin(ctx context.Context) (Credential, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return Credential{}, err
	}
	key, csr, err := newRequest()
	if err != nil {
		return Credential{}, err
	}
	cert, err := v.Sign(ctx, adminProfile(), string(csr))
	if err != nil {
		return Credential{}, fmt.Errorf("have Vault sign an administrator's certificate: %w", err)
	}
	access, err := c.Access(ctx)
	return Credential{Access: access, Cert: []byte(cert.Chain), Key: key}, err
}

func adminProfile() unit.Profile { return unit.ProfilesOf(unit.RoleOperator)[0] }

// APIServerURL is the API's address on the internal load balancer.
func (c *Cluster) APIServerURL(ctx context.Context) (string, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range machines {
		if m.Role == v1alpha1.RoleLB && m.Address.IsValid() {
			return fmt.Sprintf("https://%s", net.JoinHostPort(m.Address.String(), fmt.Sprint(unit.PortAPIServer))), nil
		}
	}
	return "", fmt.Errorf("cluster %s has no load balancer yet: run `ashlar up`", c.Spec.Metadata.Name)
}

// RESTConfig is the credential as client-go wants it, dialling from the operator's seat.
func (c *Cluster) RESTConfig(cred Credential) *rest.Config {
	return &rest.Config{
		Host: cred.Server,
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: unit.APIServerName, CAData: []byte(cred.CA), CertData: cred.Cert, KeyData: cred.Key,
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.Provider.Dial(ctx, provider.FromOperator, network, address)
		},
		// The cluster's network is its own: no proxy of this host's knows it.
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		QPS:   -1, Timeout: 30 * time.Second, WarningHandler: rest.NoWarnings{},
	}
}

// Kube returns the operator's access to the API, which it keeps for the length of one command.
func (c *Cluster) Kube(ctx context.Context) (*rest.Config, error) {
	c.mu.Lock()
	have := c.kube
	c.mu.Unlock()
	if have != nil {
		return have.config, nil
	}
	cred, err := c.Admin(ctx)
	if err != nil {
		return nil, err
	}
	config := c.RESTConfig(cred)
	c.mu.Lock()
	c.kube = &kubeAccess{config}
	c.mu.Unlock()
	return config, nil
}

// clientset speaks to the API as the administrator.
func (c *Cluster) clientset(ctx context.Context) (*kubernetes.Clientset, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// mayAdminister says whether the administrators' group is bound to its role.
func mayAdminister(ctx context.Context, config *rest.Config) (bool, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false, err
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"}}}
	got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return got.Status.Allowed, nil
}

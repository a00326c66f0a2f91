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
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// kubeAccess is the operator's way to the API: a certificate of hours in a group that RBAC knows.
type kubeAccess struct{ config *rest.Config }

// Credential is a certificate and its key, as PEM, and the CA to expect on the other side.
type Credential struct {
	Cert, Key []byte
	CA        string
	Server    string
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

// Admin has Vault sign a credential for an administrator.
func (c *Cluster) Admin(ctx context.Context) (Credential, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return Credential{}, err
	}
	cas, err := c.authorities(ctx)
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
	server, err := c.APIServerURL(ctx)
	return Credential{Cert: []byte(cert.Chain), Key: key, CA: cas[unit.CAKubernetes], Server: server}, err
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
		QPS: -1, Timeout: 30 * time.Second,
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

// notReady names the declared workers that Kubernetes does not know or does not call Ready.
func notReady(want []v1alpha1.Machine, have []corev1.Node) []string {
	ready := map[string]bool{}
	for _, n := range have {
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady {
				ready[n.Name] = cond.Status == corev1.ConditionTrue
			}
		}
	}
	var out []string
	for _, m := range want {
		if m.Role == v1alpha1.RoleWorker && !ready[m.Name] {
			out = append(out, m.Name)
		}
	}
	return out
}

// waitNodes watches until all declared workers are Ready.
func waitNodes(ctx context.Context, config *rest.Config, want []v1alpha1.Machine) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		missing := notReady(want, list.Items)
		if len(missing) == 0 {
			return nil
		}
		w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, FieldSelector: fields.Everything().String()})
		if err != nil {
			return fmt.Errorf("watch nodes: %w", err)
		}
		select {
		case <-ctx.Done():
			w.Stop()
			return fmt.Errorf("nodes are not Ready: %v: %w", missing, ctx.Err())
		case <-w.ResultChan():
			w.Stop()
		}
	}
}

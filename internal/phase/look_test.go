package phase

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// elsewhere is a provider whose network is not on this host: connections come through it.
type elsewhere struct {
	provider.Provider
	to     string
	dialed string
}

func (e *elsewhere) List(context.Context) ([]provider.Machine, error) { return nil, nil }

func (e *elsewhere) Balancer(context.Context) (provider.Machine, error) {
	return provider.Machine{Name: "api.demo.internal", Role: v1alpha1.RoleLB, Address: netip.MustParseAddr("10.0.0.9"), State: provider.Running}, nil
}

func (e *elsewhere) Place(context.Context) (provider.Place, error)     { return provider.Place{}, nil }
func (e *elsewhere) Publish(context.Context, string, []byte) error     { return nil }
func (e *elsewhere) Published(context.Context, string) ([]byte, error) { return nil, nil }
func (e *elsewhere) Dial(ctx context.Context, vantage, network, address string) (net.Conn, error) {
	e.dialed = vantage + " " + address
	return new(net.Dialer).DialContext(ctx, network, e.to)
}

// Where nobody can be near the API, a port of this host's leads there.
func TestNearAPI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "the API")
			_ = c.Close()
		}
	}()
	spec := &v1alpha1.Cluster{Metadata: v1alpha1.Metadata{Name: "demo"}, Spec: v1alpha1.Spec{Provider: v1alpha1.Provider{AWS: &v1alpha1.AWS{}}}}
	p := &elsewhere{to: l.Addr().String()}
	var said []byte
	err = (&Cluster{Spec: spec, Provider: p}).NearAPI(t.Context(), func(server string) error {
		c, err := net.Dial("tcp", strings.TrimPrefix(server, "https://"))
		if err != nil {
			return err
		}
		defer c.Close()
		said, err = io.ReadAll(c)
		return err
	})
	if err != nil || string(said) != "the API" || p.dialed != "operator 10.0.0.9:6443" {
		t.Errorf("it says %q, by %q, %v", said, p.dialed, err)
	}
}

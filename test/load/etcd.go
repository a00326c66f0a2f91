package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

// etcdClient is somebody who may write to one of the etcd clusters: a certificate of some role of machine.
type etcdClient struct {
	cluster unit.EtcdCluster
	role    v1alpha1.Role
	name    string
}

var etcds = []etcdClient{
	{unit.EtcdClusters[0], v1alpha1.RoleControlPlane, "kube-apiserver"},
	{unit.EtcdClusters[1], v1alpha1.RoleControlPlane, "kube-apiserver"},
	{unit.EtcdClusters[2], v1alpha1.RoleEtcd, "root"},
}

// etcd writes to a cluster and reads it back, until ctx ends. A member that stops refuses what it is asked, and the
// client asks another, as every client of etcd has to: a request failed if no member took it.
func (l *Load) etcd(ctx context.Context, e etcdClient) {
	who := "etcd-" + e.cluster.Name
	key := "/ashlar-load/" + e.cluster.Name
	var c *clientv3.Client
	var since time.Time
	defer func() {
		if c != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			_, _ = c.Delete(ctx, key) // the cluster goes anyway
			_ = c.Close()
		}
	}()
	n := 0
	each(ctx, 2*pace, func() {
		if c == nil || time.Since(since) > fresh {
			again, err := l.connect(ctx, e)
			switch {
			case err == nil:
				if c != nil {
					_ = c.Close()
				}
				c, since = again, time.Now()
			case c == nil:
				l.count(ctx, who, fmt.Errorf("connect: %w", err))
				return
			}
			// Or else it goes on with what it has, and tries again: files of a certificate may be gone for a moment.
		}
		n++
		l.count(ctx, who, l.asked(ctx, who, func(ctx context.Context) error {
			_, err := c.Put(ctx, key, strconv.Itoa(n))
			return err
		}))
		l.count(ctx, who, l.asked(ctx, who, func(ctx context.Context) error {
			got, err := c.Get(ctx, key)
			if err == nil && (len(got.Kvs) != 1 || string(got.Kvs[0].Value) != strconv.Itoa(n)) {
				err = fmt.Errorf("wrote %d, read %v", n, got.Kvs)
			}
			return err
		}))
	})
}

// asked repeats what a member refused because it stops, has no leader, or lost it to another just then: etcd leaves that to
// its clients. Writing the same again is no harm. How often it was, the report says.
func (l *Load) asked(ctx context.Context, who string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for range 20 {
		if err = f(ctx); err == nil || !refusedByOne(err) {
			return err
		}
		l.repeated(who)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

func refusedByOne(err error) bool {
	if known := (rpctypes.EtcdError{}); errors.As(err, &known) {
		return known.Code() == codes.Unavailable
	}
	return status.Code(err) == codes.Unavailable || errors.Is(err, clientv3.ErrNoAvailableEndpoints)
}

// connect opens a client of all members with the certificate that a machine has now, from where that machine is.
func (l *Load) connect(ctx context.Context, e etcdClient) (*clientv3.Client, error) {
	t := l.now()
	machine := t.Desired.WithRole(e.role)[0].Name
	p := unit.Profile{CA: e.cluster.CA, Name: e.name}
	config, err := tlsOf(ctx, t, machine, p)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	var endpoints []string
	for _, m := range t.Desired.WithRole(v1alpha1.RoleEtcd) {
		name := fmt.Sprintf("%s:%d", m.Name, e.cluster.ClientPort)
		addresses[name] = fmt.Sprintf("%s:%d", m.Address, e.cluster.ClientPort)
		endpoints = append(endpoints, "https://"+name)
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: config, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) {
			return t.Provider.Dial(ctx, machine, "tcp", addresses[name])
		})},
	})
}

// tlsOf reads what a machine has of a profile. A pair that is just being replaced is read again.
func tlsOf(ctx context.Context, t *claim.Target, machine string, p unit.Profile) (*tls.Config, error) {
	var files [3][]byte
	var err error
	for range 5 {
		for i, path := range []string{p.CertFile(), p.KeyFile(), unit.CAFile(p.CA)} {
			if files[i], err = t.Provider.Read(ctx, machine, path); err != nil {
				return nil, err
			}
		}
		var pair tls.Certificate
		if pair, err = tls.X509KeyPair(files[0], files[1]); err == nil {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(slices.Clone(files[2]))
			return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
		}
	}
	return nil, err
}

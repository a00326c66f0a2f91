// Package kms lets the API server seal what it stores with a key that never leaves Vault: the Kubernetes KMS v2
// plugin (https://kubernetes.io/docs/tasks/administer-cluster/kms-provider) over Vault's transit engine.
package kms

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
)

// Transit is all that the plugin asks of Vault. A machine's policy allows just these two, for one key.
type Transit interface {
	// TransitEncrypt seals plaintext with the newest version of a key; the answer begins with "vault:v<version>:".
	TransitEncrypt(ctx context.Context, key string, plaintext []byte) (ciphertext string, err error)
	// TransitDecrypt opens what any version of the key has sealed.
	TransitDecrypt(ctx context.Context, key, ciphertext string) (plaintext []byte, err error)
}

// Options configure the plugin.
type Options struct {
	// Socket is the path that the API server connects to. Its directory exists.
	Socket string
	// TokenFile holds the Vault token. It is read for every request, for the agent replaces it now and then.
	TokenFile string
	// Connect returns a client that authenticates with a token.
	Connect func(token string) (Transit, error)
	// Mount and Key name the key, as in demo/transit and etcd.
	Mount, Key string
	// Timeout limits one request to Vault; 0: 2 s, less than the API server waits.
	Timeout time.Duration
}

// Serve answers the API server until ctx ends. The socket is the owner's alone; one that a killed predecessor left is
// replaced.
func Serve(ctx context.Context, o Options) error {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	listener, err := listen(o.Socket)
	if err != nil {
		return fmt.Errorf("kms: listen on %s: %w", o.Socket, err)
	}
	server := grpc.NewServer()
	kmsapi.RegisterKeyManagementServiceServer(server, service.NewGRPCService(o.Socket, o.Timeout, &plugin{o}))
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = os.Remove(o.Socket)
		server.GracefulStop() // requests under way are limited by Timeout
	})
	err = server.Serve(listener)
	if !stop() {
		<-done
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("kms: serve on %s: %w", o.Socket, err)
}

// listen makes the socket under another name, and gives it its own only once nobody else can open it.
func listen(path string) (net.Listener, error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// plugin implements the service of KMS v2.
type plugin struct{ o Options }

// Encrypt seals data: in KMS v2 that is a seed from which the API server derives its own keys, so it is asked once in
// its life, and once more whenever the key has been rotated.
func (p *plugin) Encrypt(ctx context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	ciphertext, keyID, err := p.encrypt(ctx, data)
	if err != nil {
		return nil, err
	}
	return &service.EncryptResponse{Ciphertext: []byte(ciphertext), KeyID: keyID}, nil
}

// Decrypt opens what Encrypt has sealed.
func (p *plugin) Decrypt(ctx context.Context, _ string, request *service.DecryptRequest) ([]byte, error) {
	ciphertext := string(request.Ciphertext)
	if _, err := version(ciphertext); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "kms: decrypt: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	vault, err := p.connect()
	if err != nil {
		return nil, err
	}
	plaintext, err := vault.TransitDecrypt(ctx, p.o.Key, ciphertext)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "kms: decrypt with %s/%s: %v", p.o.Mount, p.o.Key, err)
	}
	return plaintext, nil
}

// Status tells the API server which version of the key is the newest: when that changes, it seals anew. The version
// is read off a trial, which needs no right to read the key, and shows that Vault works.
func (p *plugin) Status(ctx context.Context) (*service.StatusResponse, error) {
	_, keyID, err := p.encrypt(ctx, []byte("status"))
	if err != nil {
		return nil, err
	}
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

func (p *plugin) encrypt(ctx context.Context, data []byte) (ciphertext, keyID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	vault, err := p.connect()
	if err != nil {
		return "", "", err
	}
	ciphertext, err = vault.TransitEncrypt(ctx, p.o.Key, data)
	if err != nil {
		return "", "", status.Errorf(codes.Unavailable, "kms: encrypt with %s/%s: %v", p.o.Mount, p.o.Key, err)
	}
	v, err := version(ciphertext)
	if err != nil {
		return "", "", status.Errorf(codes.Internal, "kms: encrypt with %s/%s: %v", p.o.Mount, p.o.Key, err)
	}
	return ciphertext, p.o.Mount + "/" + p.o.Key + ":" + v, nil
}

func (p *plugin) connect() (Transit, error) {
	token, err := os.ReadFile(p.o.TokenFile)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "kms: read the Vault token, which the agent writes: %v", err)
	}
	vault, err := p.o.Connect(strings.TrimSpace(string(token)))
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "kms: connect to Vault: %v", err)
	}
	return vault, nil
}

// version returns the version of the key that sealed a ciphertext: "vault:v3:…" → "3".
func version(ciphertext string) (string, error) {
	rest, ok := strings.CutPrefix(ciphertext, "vault:v")
	v, sealed, both := strings.Cut(rest, ":")
	if !ok || !both || v == "" || sealed == "" || strings.Trim(v, "0123456789") != "" {
		return "", errors.New("not a ciphertext of Vault's transit engine")
	}
	return v, nil
}

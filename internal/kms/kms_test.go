package kms

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/internal/testserver"
)

const mount = "demo/transit"

func TestVersion(t *testing.T) {
	for ciphertext, want := range map[string]string{
		"vault:v1:abc": "1", "vault:v12:abc": "12",
		"": "", "vault:v1:": "", "vault:v:abc": "", "vault:vx:abc": "", "vault:v1": "", "v1:abc": "", "k8s:enc:kms": "",
	} {
		if got, err := version(ciphertext); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", ciphertext, got, err)
		}
	}
}

// What is no ciphertext is refused before Vault is asked (here there is none to ask).
func TestDecryptOfGarbage(t *testing.T) {
	p := &plugin{Options{TokenFile: "/nonexistent", Timeout: time.Second}}
	rapid.Check(t, func(t *rapid.T) {
		garbage := rapid.SliceOf(rapid.Byte()).Filter(func(b []byte) bool { return !strings.HasPrefix(string(b), "vault:v") }).Draw(t, "ciphertext")
		if _, err := p.Decrypt(context.Background(), "", &service.DecryptRequest{Ciphertext: garbage}); status.Code(err) != codes.InvalidArgument {
			t.Fatalf("%q: %v", garbage, err)
		}
	})
}

func TestAgainstVault(t *testing.T) {
	root := startVault(t)
	tokenFile := filepath.Join(t.TempDir(), "token")
	testserver.Write(t, tokenFile, machineToken(t, root))
	socket := serve(t, root, tokenFile)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	client, ctx := connect(t, socket), t.Context()

	first := statusOf(t, client)
	if first.KeyId != mount+"/etcd:1" || first.Healthz != "ok" || first.Version != "v2" {
		t.Errorf("status: %v", first)
	}
	sealed, err := client.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: []byte("seed"), Uid: "1"})
	if err != nil || sealed.KeyId != first.KeyId || strings.Contains(string(sealed.Ciphertext), "seed") {
		t.Fatalf("encrypt: %v %v", sealed, err)
	}

	// Rotation is noticed, and what the old version sealed can still be read.
	if _, err := root.Logical().Write(mount+"/keys/etcd/rotate", nil); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, client); s.KeyId != mount+"/etcd:2" {
		t.Errorf("after rotation: %v", s)
	}
	opened, err := client.Decrypt(ctx, &kmsapi.DecryptRequest{Ciphertext: sealed.Ciphertext, KeyId: sealed.KeyId, Uid: "2"})
	if err != nil || string(opened.Plaintext) != "seed" {
		t.Errorf("decrypt: %v", err)
	}

	for _, garbage := range []string{"", "garbage", "vault:v1:Z2FyYmFnZQ==", "vault:v9:AAAA"} {
		_, err := client.Decrypt(ctx, &kmsapi.DecryptRequest{Ciphertext: []byte(garbage), KeyId: sealed.KeyId, Uid: "3"})
		if status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.Unavailable {
			t.Errorf("decrypt of %q: %v", garbage, err)
		}
	}

	// A replaced token is used at once, a bad one is an error that does not tell it.
	testserver.Write(t, tokenFile, "hvs.nonsense")
	if _, err := client.Status(ctx, &kmsapi.StatusRequest{}); err == nil || strings.Contains(err.Error(), "hvs.nonsense") {
		t.Errorf("with a bad token: %v", err)
	}
	testserver.Write(t, tokenFile, machineToken(t, root))
	statusOf(t, client)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "kms.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// serve runs the plugin until the end of the test, and checks that it ends well and removes its socket.
func serve(t *testing.T, vault *api.Client, tokenFile string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "kms.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, Options{Socket: socket, TokenFile: tokenFile, Connect: connectVault(vault, mount), Mount: mount, Key: "etcd"})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Stat(socket); !os.IsNotExist(err) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	testserver.Eventually(t, "the socket", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

func connect(t *testing.T, socket string) kmsapi.KeyManagementServiceClient {
	t.Helper()
	c, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return kmsapi.NewKeyManagementServiceClient(c)
}

func statusOf(t *testing.T, client kmsapi.KeyManagementServiceClient) *kmsapi.StatusResponse {
	t.Helper()
	s, err := client.Status(t.Context(), &kmsapi.StatusRequest{})
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	return s
}

package kms

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/testserver"
)

// startVault runs a Vault in memory with the transit key and the policy of a control-plane machine, and returns its root.
func startVault(t *testing.T) *api.Client {
	t.Helper()
	address, token := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t)), rand.Text()
	testserver.Run(t, []string{"HOME=" + t.TempDir(), "VAULT_DEV_ROOT_TOKEN_ID=" + token}, "vault", "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+address)
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = "http://"+address, 0
	root, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	root.SetToken(token)
	testserver.Eventually(t, "Vault", func() bool { h, err := root.Sys().Health(); return err == nil && h.Initialized && !h.Sealed })
	testserver.Eventually(t, "root token", func() bool { _, err := root.Auth().Token().LookupSelf(); return err == nil })
	if err := root.Sys().Mount(mount, &api.MountInput{Type: "transit"}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Logical().Write(mount+"/keys/etcd", nil); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`path "%s/encrypt/etcd" { capabilities = ["update"] }
path "%s/decrypt/etcd" { capabilities = ["update"] }`, mount, mount)
	if err := root.Sys().PutPolicy("machine", policy); err != nil {
		t.Fatal(err)
	}
	return root
}

func machineToken(t *testing.T, root *api.Client) string {
	t.Helper()
	secret, err := root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"machine"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Auth.ClientToken
}

// A real API server, with the real Vault behind it, leaves nothing readable in etcd.
func TestAPIServerStoresNothingReadable(t *testing.T) {
	vault := startVault(t)
	tokenFile := filepath.Join(t.TempDir(), "token")
	testserver.Write(t, tokenFile, machineToken(t, vault))
	config, etcd := startAPI(t, serve(t, vault, tokenFile))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	secrets := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace("default")
	secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": "s"}, "stringData": map[string]any{"password": "correct horse"}}}
	if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stored, err := etcd.Get(ctx, "/registry/secrets/default/s")
	if err != nil || len(stored.Kvs) != 1 {
		t.Fatalf("%v %v", stored, err)
	}
	if raw := stored.Kvs[0].Value; !bytes.HasPrefix(raw, []byte("k8s:enc:kms:v2:vault-transit:")) || bytes.Contains(raw, []byte("correct horse")) {
		t.Errorf("etcd holds %q", raw)
	}
	got, err := secrets.Get(ctx, "s", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if password, _, _ := unstructured.NestedString(got.Object, "data", "password"); password != "Y29ycmVjdCBob3JzZQ==" {
		t.Errorf("read back %q", password)
	}
}

func startAPI(t *testing.T, socket string) (*rest.Config, *clientv3.Client) {
	t.Helper()
	encryption := filepath.Join(t.TempDir(), "encryption.yaml")
	testserver.Write(t, encryption, fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps]
  providers:
  - kms: {apiVersion: v2, name: vault-transit, endpoint: "unix://%s", timeout: 3s}
  - identity: {}
`, socket))
	server := testserver.StartAPI(t, nil, "--encryption-provider-config="+encryption)
	t.Logf("API server ready %s after its start", server.Started)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	return server.Admin, etcd
}

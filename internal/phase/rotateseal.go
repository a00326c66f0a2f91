package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// sealTimeout is how long API servers, which ask for the newest key once a minute, and the rewriting may take.
const sealTimeout = 10 * time.Minute

// sealedKinds are what the API servers seal, by their place in etcd.
var sealedKinds = []string{"secrets", "configmaps"}

// sealAnew rewrites all that is not sealed by the new version of the key, until etcd's own data has nothing else. Then,
// when the old one is dropped, that stops decrypting.
func (c *Cluster) sealAnew(ctx context.Context, r rotation.Rotation, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	client, err := c.clientset(ctx)
	if err != nil {
		return err
	}
	clean := 0
	for {
		left, err := c.sealedOtherwise(ctx, r.New)
		if err != nil {
			return err
		}
		// An API server that has not heard of the new version may still write by the old one: look again after each has.
		if len(left) == 0 {
			clean++
		} else {
			clean = 0
		}
		if clean > 1 || clean == 1 && r.Stage == rotation.Drop {
			break
		}
		progress.Detail("%d objects are sealed by another version of the key", len(left))
		for _, key := range left {
			if err := rewrite(ctx, client, key); err != nil {
				return err
			}
		}
		pause := 5 * time.Second
		if len(left) == 0 {
			pause = adopted
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d objects are still sealed by another version of the key than %s, as %s: %w", len(left), r.New, first(left), ctx.Err())
		case <-time.After(pause):
		}
	}
	if r.Stage != rotation.Drop {
		return nil
	}
	version, err := strconv.Atoi(r.New)
	if err != nil {
		return err
	}
	return c.withRoot(ctx, func(root *vault.Client) error { return root.ForgetTransit(ctx, vault.TransitKey, version) })
}

// adopted is after how long every API server has asked for the newest version of the key: they do so each minute.
const adopted = 75 * time.Second

func first(of []string) string {
	if len(of) == 0 {
		return "none"
	}
	return of[0]
}

// sealedOtherwise reads etcd itself, and names each key whose value is not sealed by a version of the transit key.
func (c *Cluster) sealedOtherwise(ctx context.Context, version string) ([]string, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	var reader provider.Machine
	for _, m := range machines {
		if m.Role == v1alpha1.RoleControlPlane && m.State == provider.Running {
			reader = m
		}
	}
	d := c.desiredFor(reader.Name, machines, trust)
	p := unit.Profile{CA: unit.CAEtcdKubernetes, Name: "kube-apiserver"}
	var left []string
	for _, kind := range sealedKinds {
		var out, problems bytes.Buffer
		err := c.Provider.Exec(ctx, reader.Name, provider.Exec{Stdout: &out, Stderr: &problems, Args: []string{
			unit.Bin + "/etcdctl", "--endpoints=" + d.EtcdEndpoints(unit.EtcdClusters[0]), "--cacert=" + unit.CAFile(p.CA),
			"--cert=" + p.CertFile(), "--key=" + p.KeyFile(), "get", "--prefix", "--write-out=json", "/registry/" + kind + "/"}})
		if err != nil {
			return nil, fmt.Errorf("read %s from etcd on %s: %w: %s", kind, reader.Name, err, bytes.TrimSpace(problems.Bytes()))
		}
		found, err := otherwise(out.Bytes(), version)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	return left, nil
}

// otherwise names the keys in etcd's answer whose values are sealed by another version of the key, or not at all.
func otherwise(answer []byte, version string) ([]string, error) {
	var a struct {
		KVs []struct{ Key, Value []byte }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("read etcd's answer: %w", err)
	}
	var out []string
	for _, kv := range a.KVs {
		// The sealed key of the value says by which version of Vault's it is sealed.
		if !bytes.HasPrefix(kv.Value, []byte(unit.SealedPrefix)) || !bytes.Contains(kv.Value, []byte("vault:v"+version+":")) {
			out = append(out, string(kv.Key))
		}
	}
	return out, nil
}

// rewrite stores an object as it is, which seals it anew. One that changed or went meanwhile needs nothing.
func rewrite(ctx context.Context, client kubernetes.Interface, key string) error {
	parts := strings.Split(strings.TrimPrefix(key, "/registry/"), "/")
	if len(parts) != 3 {
		return fmt.Errorf("etcd has %q, which is no object of a namespace", key)
	}
	kind, namespace, name := parts[0], parts[1], parts[2]
	var err error
	switch kind {
	case "secrets":
		got, e := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err = e; err == nil {
			_, err = client.CoreV1().Secrets(namespace).Update(ctx, got, metav1.UpdateOptions{})
		}
	case "configmaps":
		got, e := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err = e; err == nil {
			_, err = client.CoreV1().ConfigMaps(namespace).Update(ctx, got, metav1.UpdateOptions{})
		}
	}
	if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("seal %s anew: %w", key, err)
}

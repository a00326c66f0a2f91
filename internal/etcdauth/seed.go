package etcdauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/internal/calico"
)

// Calico is what Calico must find in its datastore before it starts anywhere. Left alone it would write most of this
// itself, from whichever machine comes first; then every worker would need leave to rewrite the configuration of all.
type Calico struct {
	// PodCIDR is the one pool of pod addresses.
	PodCIDR string
	// Workers are the names of the machines that run pods.
	Workers []string
	// Members: there are more workers than these, which come and go, and announce themselves.
	Members bool
	// Policy is what is declared of pods.
	Policy []calico.Resource
}

// record is one key. Its value is compared by spec: identity and timestamps are made once.
type record struct {
	key  string
	kind string
	name string
	spec map[string]any
	// once: what is there already stays as it is.
	once bool
}

func (c Calico) records() []record {
	felix := func(name string, spec map[string]any) record {
		return record{key: resources + "felixconfigurations/" + name, kind: "FelixConfiguration", name: name, spec: spec}
	}
	records := []record{
		{key: resources + "clusterinformations/default", kind: "ClusterInformation", name: "default", once: true,
			spec: map[string]any{"clusterGUID": rand.Text(), "clusterType": "k8s", "datastoreReady": true}},
		// Whatever carries packets between machines sees only the machines' own addresses: of the overlay by VXLAN, and
		// of what leaves it (to the API at the load balancer) by NAT.
		{key: resources + "ippools/pods", kind: "IPPool", name: "pods", spec: map[string]any{
			"cidr": c.PodCIDR, "vxlanMode": "Always", "ipipMode": "Never", "natOutgoing": true, "blockSize": 26.0,
			"nodeSelector": "all()", "allowedUses": []any{"Workload", "Tunnel"}}},
		felix("default", map[string]any{"reportingInterval": "0s", "logSeverityScreen": "Warning"}),
	}
	for _, w := range c.Workers {
		// A pod has no business with its machine.
		records = append(records, felix("node."+w, map[string]any{"defaultEndpointToHostAction": "Drop"}))
	}
	return records
}

// ipamConfig lets machines claim blocks of the pool as they need them.
const (
	ipamConfigKey = ipam + "config"
	ipamConfig    = `{"auto_allocate_blocks":true}`
)

// Seed makes what Calico finds there what is wanted, in one transaction, and names what differed. What is not declared of
// policy is removed; until the transaction, what was there is in force, and nothing in between ever is. The client must be root's.
func Seed(ctx context.Context, client clientv3.KV, want Calico) ([]Change, error) {
	for range seedAttempts {
		d, err := want.observe(ctx, client)
		if err != nil || len(d.ops) == 0 {
			return d.changes, err
		}
		done, err := client.Txn(ctx).If(d.seen...).Then(d.ops...).Commit()
		if err != nil {
			return nil, fmt.Errorf("write Calico's records into the overlay's etcd: %w", err)
		}
		if done.Succeeded {
			return d.changes, nil
		}
	}
	return nil, errors.New("write Calico's records into the overlay's etcd: somebody else changes them again and again")
}

// seedAttempts is how often Seed looks again: the other etcd machines do the same at the same time.
const seedAttempts = 10

// ObserveSeed names what Seed would change.
func ObserveSeed(ctx context.Context, client clientv3.KV, want Calico) ([]Change, error) {
	d, err := want.observe(ctx, client)
	return d.changes, err
}

// difference is what to change, and what that goes by: it must still be so.
type difference struct {
	changes []Change
	ops     []clientv3.Op
	seen    []clientv3.Cmp
}

func (d *difference) add(key string, revision int64, cause, action string, op clientv3.Op) {
	d.changes = append(d.changes, Change{Cause: key + " " + cause, Action: action})
	d.ops = append(d.ops, op)
	d.seen = append(d.seen, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
}

func (d *difference) put(key, value string, revision int64) {
	cause := "is missing"
	if revision > 0 {
		cause = "differs"
	}
	d.add(key, revision, cause, "write it", clientv3.OpPut(key, value))
}

func (c Calico) observe(ctx context.Context, client clientv3.KV) (difference, error) {
	var d difference
	if c.Members {
		var err error
		if c, d.seen, err = c.withMembers(ctx, client); err != nil {
			return d, err
		}
	}
	for _, r := range c.records() {
		kv, err := get(ctx, client, r.key)
		if err != nil {
			return d, err
		}
		if value, differs := r.merge(kv.value); kv.revision == 0 || (differs && !r.once) {
			d.put(r.key, value, kv.revision)
		}
	}
	kv, err := get(ctx, client, ipamConfigKey)
	if err != nil {
		return d, err
	}
	if kv.revision == 0 {
		d.put(ipamConfigKey, ipamConfig, 0)
	}
	return d, c.policy(ctx, client, &d)
}

type stored struct {
	value    []byte
	revision int64
}

func get(ctx context.Context, client clientv3.KV, key string) (stored, error) {
	response, err := client.Get(ctx, key)
	if err != nil {
		return stored{}, fmt.Errorf("read %s from the overlay's etcd: %w", key, err)
	}
	if len(response.Kvs) == 0 {
		return stored{}, nil
	}
	return stored{response.Kvs[0].Value, response.Kvs[0].ModRevision}, nil
}

// merge returns the stored document with the fields of the wanted spec, and whether that changes it. Calico adds
// fields of its own (status, defaults); they stay.
func (r record) merge(value []byte) (string, bool) {
	document := map[string]any{}
	if json.Unmarshal(value, &document) != nil || document["kind"] != r.kind {
		document = newDocument(r.kind, r.name, r.key)
	}
	spec, _ := document["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
	}
	differs := false
	for field, want := range r.spec {
		if !reflect.DeepEqual(spec[field], want) {
			spec[field], differs = want, true
		}
	}
	document["spec"] = spec
	out, err := json.Marshal(document)
	if err != nil {
		panic(err) // plain maps of strings, numbers and lists
	}
	return string(out), differs
}

// newDocument has all but the spec. Calico tells records apart by uid; one derived from the key is the same on whichever
// machine it is made.
func newDocument(kind, name, key string) map[string]any {
	return map[string]any{
		"kind": kind, "apiVersion": "projectcalico.org/v3",
		"metadata": map[string]any{"name": name, "uid": uid(key), "creationTimestamp": "2000-01-01T00:00:00Z"},
	}
}

func uid(key string) string {
	sum := sha256.Sum256([]byte(key))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-5" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

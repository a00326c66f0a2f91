package etcdauth

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/internal/calico"
)

// policy compares what is declared with all that there is of its kinds: only root writes them, so nothing else belongs there.
func (c Calico) policy(ctx context.Context, client clientv3.KV, d *difference) error {
	live := map[string]stored{}
	for _, kind := range calico.Kinds {
		response, err := client.Get(ctx, resources+kind, clientv3.WithPrefix())
		if err != nil {
			return fmt.Errorf("read %s from the overlay's etcd: %w", resources+kind, err)
		}
		for _, kv := range response.Kvs {
			live[string(kv.Key)] = stored{kv.Value, kv.ModRevision}
		}
	}
	for _, r := range c.Policy {
		have := live[r.Key]
		delete(live, r.Key)
		if value := document(r); !sameJSON(value, have.value) {
			d.put(r.Key, string(value), have.revision)
		}
	}
	for _, key := range sorted(live) {
		d.add(key, live[key].revision, "is not declared", "remove it", clientv3.OpDelete(key))
	}
	return nil
}

// document is the whole of a resource: nobody else adds to it.
func document(r calico.Resource) []byte {
	out := newDocument(r.Kind, r.Name, r.Key)
	if len(r.Labels) > 0 {
		out["metadata"].(map[string]any)["labels"] = r.Labels
	}
	out["spec"] = r.Spec
	b, err := json.Marshal(out)
	if err != nil {
		panic(err) // plain maps of strings, numbers and lists
	}
	return b
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

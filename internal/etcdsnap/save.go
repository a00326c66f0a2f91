// Package etcdsnap takes a snapshot of an etcd cluster, and makes a member of one, on the machine that the member is on.
package etcdsnap

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// header goes before a snapshot: whoever stores it must know its size beforehand.
type header struct {
	Size int64 `json:"size"`
}

// checksum is how many bytes etcd appends to a snapshot.
const checksum = 32

// Save writes a snapshot of the client's only endpoint, with its size before it.
func Save(ctx context.Context, client *clientv3.Client, w io.Writer) error {
	// A member that is cut off from the others would give what it has. It cannot answer this.
	if _, err := client.Get(ctx, "\x00"); err != nil {
		return fmt.Errorf("etcd at %v is not in service: %w", client.Endpoints(), err)
	}
	stream, err := etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Snapshot(ctx, &etcdserverpb.SnapshotRequest{})
	if err != nil {
		return fmt.Errorf("take a snapshot of etcd at %v: %w", client.Endpoints(), err)
	}
	var written int64
	for first := true; ; first = false {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) && !first {
			return nil // whoever reads compares with the size
		}
		if err != nil {
			return fmt.Errorf("take a snapshot of etcd at %v: after %d bytes: %w", client.Endpoints(), written, err)
		}
		if first {
			head, err := json.Marshal(header{int64(len(part.Blob)) + int64(part.RemainingBytes) + checksum})
			if err != nil {
				return err
			}
			if _, err := w.Write(append(head, '\n')); err != nil {
				return err
			}
		}
		n, err := w.Write(part.Blob)
		written += int64(n)
		if err != nil {
			return err
		}
	}
}

// Receive reads what Save wrote: the size, and the snapshot.
func Receive(r io.Reader) (size int64, snapshot io.Reader, err error) {
	b := bufio.NewReader(r)
	line, err := b.ReadSlice('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("receive a snapshot of etcd: %w", err)
	}
	var h header
	if err := json.Unmarshal(line, &h); err != nil || h.Size <= checksum {
		return 0, nil, errors.New("receive a snapshot of etcd: it does not begin with its size")
	}
	return h.Size, b, nil
}

package vault

import (
	"context"
	"fmt"
	"slices"
)

// RemovePeer has raft forget a member, if it knows it. The client must hold a root token.
func (c *Client) RemovePeer(ctx context.Context, name string) error {
	members, err := c.members(ctx)
	if err != nil || !slices.ContainsFunc(members, func(m raftMember) bool { return m.NodeID == name }) {
		return err
	}
	if err := c.put(ctx, "sys/storage/raft/remove-peer", map[string]any{"server_id": name}, nil); err != nil {
		return fmt.Errorf("remove %s from vault's cluster: %w", name, err)
	}
	return nil
}

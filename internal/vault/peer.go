package vault

import (
	"context"
	"fmt"
)

// RemovePeer has raft forget a member, whether it knew it or not. The client must hold a root token.
func (c *Client) RemovePeer(ctx context.Context, name string) error {
	if err := c.put(ctx, "sys/storage/raft/remove-peer", map[string]any{"server_id": name}, nil); err != nil {
		return fmt.Errorf("remove %s from vault's cluster: %w", name, err)
	}
	return nil
}

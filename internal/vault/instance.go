package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Instance is an instance of a cloud that has logged in.
type Instance struct {
	// ID is the cloud's; Of the machine, or the pool, that it logged in as.
	ID, Of string
	// Member says that Of is a pool.
	Member bool
	// Since is when it did.
	Since time.Time
}

// Name is what its machine is called; region is the cluster's.
func (i Instance) Name(region string) string {
	if i.Member {
		return unit.MemberName(i.ID, region)
	}
	return i.Of
}

func (c *Client) accessListPath(i Instance) string {
	mount := AWSMachinePath(c.cluster)
	if i.Member {
		mount = AWSPoolPath(c.cluster)
	}
	return "auth/" + mount + "/identity-accesslist/" + i.ID
}

// Instances are those that have logged in, and that nobody has forgotten since. The operator may ask.
func (c *Client) Instances(ctx context.Context) ([]Instance, error) {
	out, err := gather(ctx, []bool{false, true}, func(ctx context.Context, member bool) ([]Instance, error) {
		ids, err := c.list(ctx, c.accessListPath(Instance{Member: member}))
		if err != nil {
			return nil, err
		}
		return gather(ctx, ids, func(ctx context.Context, id string) ([]Instance, error) {
			i := Instance{ID: id, Member: member}
			var entry struct {
				Role  string
				Since time.Time `json:"creation_time"`
			}
			err := c.get(ctx, c.accessListPath(i), &entry)
			if errors.Is(err, ErrNotFound) {
				return nil, nil // forgotten in between
			}
			i.Of, i.Since = entry.Role, entry.Since
			return []Instance{i}, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the instances that have logged in: %w", err)
	}
	return out, nil
}

// ForgetInstance takes an instance off those that have logged in: it may do so once more, as by an init token.
func (c *Client) ForgetInstance(ctx context.Context, i Instance) error {
	if err := c.remove(ctx, c.accessListPath(i)); err != nil {
		return fmt.Errorf("forget that instance %s has logged in: %w", i.ID, err)
	}
	return nil
}

// EndInstance ends the tokens of an instance, and returns how many there were. A machine that is another instance by now keeps its
// own.
func (c *Client) EndInstance(ctx context.Context, id string) (int, error) {
	ended, err := c.endTokens(ctx, func(t issuedToken) bool { return t.Meta["instance_id"] == id })
	if err != nil {
		return ended, fmt.Errorf("end the tokens of instance %s: %w", id, err)
	}
	return ended, nil
}

// ForgetStatus removes what a machine said of itself that is gone.
func (c *Client) ForgetStatus(ctx context.Context, machine string) error {
	if err := c.remove(ctx, documentMetadataPath(c.cluster, machine, Status)); err != nil {
		return fmt.Errorf("remove what %s said of itself: %w", machine, err)
	}
	return nil
}

// shutOutMember makes Vault refuse a member of a group. Vault has named its identity; it is found by its instance.
func (c *Client) shutOutMember(ctx context.Context, name string) (int, error) {
	accessor, err := c.accessor(ctx, "auth/"+AWSPoolPath(c.cluster)+"/")
	if err != nil {
		return 0, fmt.Errorf("shut out %s: %w", name, err)
	}
	var found struct{ Name string }
	err = c.put(ctx, "identity/lookup/entity", map[string]any{"alias_name": unit.MemberInstance(name), "alias_mount_accessor": accessor}, &found)
	if err != nil {
		return 0, fmt.Errorf("shut out %s: %w", name, err)
	}
	if found.Name == "" {
		return 0, nil // it has never logged in
	}
	return c.shutOut(ctx, "identity/entity/name/"+found.Name, name)
}

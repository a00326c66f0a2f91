package vault

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// entity is what Vault says about an entity.
type entity struct {
	ID       string
	Metadata map[string]string
	Policies []string
	Groups   []string `json:"group_ids"`
	Disabled bool
	Aliases  []struct {
		ID, Name string
		Mount    string `json:"mount_path"`
	}
}

func observeEntities(ctx context.Context, o observer) ([]Object, error) {
	mine := func(name string) bool {
		return strings.HasPrefix(name, o.want.Cluster+"-") && !strings.Contains(name, "@") // a person may be called demo-eve
	}
	ids, err := o.awsRoleIDs(ctx)
	if err != nil {
		return nil, err
	}
	return o.readAll(ctx, KindEntity, "identity/entity/name", mine, func(ctx context.Context, path string) (Fields, error) {
		var e entity
		if err := o.get(ctx, path, &e); err != nil {
			return nil, err
		}
		return e.fields(ids), nil
	})
}

func (e entity) fields(ids map[string]string) Fields {
	aliases := []string{}
	for _, a := range e.Aliases {
		aliases = append(aliases, a.Mount+" "+cmp.Or(ids[a.Name], a.Name))
	}
	slices.Sort(aliases)
	return Fields{"metadata": e.Metadata, "policies": e.Policies, "groups": e.Groups, "disabled": e.Disabled, "aliases": aliases}
}

// writeEntity writes an entity and ties it to its login. What else it is tied to is cut: another alias is another
// way to become this machine.
func writeEntity(ctx context.Context, c *Client, want Object, have *Object) error {
	metadata, _ := want.Fields["metadata"].(map[string]string)
	if user := metadata["user"]; user != "" && want.Path == robotEntityPath(c.cluster, user) {
		if err := c.free(ctx, personPath(c.cluster, user), "person", user); err != nil {
			return err
		}
	}
	body := Fields{"metadata": metadata, "policies": want.Fields["policies"], "disabled": want.Fields["disabled"]}
	if err := c.put(ctx, want.Path, body, nil); err != nil {
		return err
	}
	var e entity
	if err := c.get(ctx, want.Path, &e); err != nil {
		return err
	}
	for _, group := range e.Groups {
		if err := leaveGroup(ctx, c, group, e.ID); err != nil {
			return err
		}
	}
	wanted, err := c.aliases(ctx, want)
	if err != nil {
		return err
	}
	for _, a := range e.Aliases {
		if i := slices.Index(wanted, a.Mount+" "+a.Name); i >= 0 {
			wanted = slices.Delete(slices.Clone(wanted), i, i+1)
			continue
		}
		if err := c.remove(ctx, "identity/entity-alias/id/"+a.ID); err != nil {
			return err
		}
	}
	for _, a := range wanted {
		if err := addAlias(ctx, c, e.ID, a); err != nil {
			return err
		}
	}
	return nil
}

func addAlias(ctx context.Context, c *Client, id, alias string) error {
	mount, name, _ := strings.Cut(alias, " ")
	accessor, err := c.accessor(ctx, mount)
	if err != nil {
		return err
	}
	if accessor == "" {
		return fmt.Errorf("no auth method is mounted at %s", mount)
	}
	return c.put(ctx, "identity/entity-alias", map[string]any{"name": name, "canonical_id": id, "mount_accessor": accessor}, nil)
}

func leaveGroup(ctx context.Context, c *Client, group, id string) error {
	path := "identity/group/id/" + group
	var g struct {
		Members []string `json:"member_entity_ids"`
	}
	if err := c.get(ctx, path, &g); err != nil {
		return err
	}
	members := slices.DeleteFunc(g.Members, func(m string) bool { return m == id })
	return c.put(ctx, path, map[string]any{"member_entity_ids": members}, nil)
}

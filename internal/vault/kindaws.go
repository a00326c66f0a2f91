package vault

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// awsMounts are those that shall be there.
func (o observer) awsMounts() []string {
	mounts := []string{AWSMachinePath(o.want.Cluster), AWSPoolPath(o.want.Cluster)}
	return slices.DeleteFunc(mounts, func(m string) bool { return !o.want.has(KindAuth, "sys/auth/"+m) })
}

func observeAWSRoles(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.awsMounts(), func(ctx context.Context, mount string) ([]Object, error) {
		return o.readAll(ctx, KindAWSRole, "auth/"+mount+"/role", nil, o.fields)
	})
}

// observeAWSCertificates finds every certificate whose documents a mount would believe, beside AWS's own.
func observeAWSCertificates(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.awsMounts(), func(ctx context.Context, mount string) ([]Object, error) {
		names, err := o.list(ctx, "auth/"+mount+"/config/certificates")
		if err != nil {
			return nil, err
		}
		return gather(ctx, names, func(ctx context.Context, name string) ([]Object, error) {
			path := "auth/" + mount + "/config/certificate/" + name
			f, err := o.fields(ctx, path)
			return []Object{{KindAWSCertificate, path, f}}, err
		})
	})
}

// observeAWSAccounts finds other accounts that Vault would ask: none is wanted.
func observeAWSAccounts(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.awsMounts(), func(ctx context.Context, mount string) ([]Object, error) {
		names, err := o.list(ctx, "auth/"+mount+"/config/sts")
		var out []Object
		for _, name := range names {
			out = append(out, Object{Kind: KindAWSAccount, Path: "auth/" + mount + "/config/sts/" + name})
		}
		return out, err
	})
}

// writeAWSClient forgets what there was: a secret key cannot be seen, and is not taken back by writing none.
func writeAWSClient(ctx context.Context, c *Client, want Object, have *Object) error {
	if have != nil {
		if err := c.remove(ctx, want.Path); err != nil {
			return err
		}
	}
	return c.put(ctx, want.Path, want.Fields, nil)
}

// writeAWSRole makes a role anew where it proves something else: that cannot be changed. Its machine's alias then follows.
func writeAWSRole(ctx context.Context, c *Client, want Object, have *Object) error {
	if have != nil && canonical(have.Fields["auth_type"]) != canonical(want.Fields["auth_type"]) {
		if err := c.remove(ctx, want.Path); err != nil {
			return err
		}
	}
	return c.put(ctx, want.Path, want.Fields, nil)
}

// awsRoleIDs tells by the ID of a role, which Vault chooses, what it is called.
func (o observer) awsRoleIDs(ctx context.Context) (map[string]string, error) {
	mount := AWSMachinePath(o.want.Cluster)
	if !o.want.has(KindAuth, "sys/auth/"+mount) {
		return nil, nil
	}
	roles, err := o.readAll(ctx, KindAWSRole, "auth/"+mount+"/role", nil, o.fields)
	ids := map[string]string{}
	for _, r := range roles {
		if id, _ := r.Fields["role_id"].(string); id != "" {
			ids[id] = strings.TrimPrefix(r.Path, "auth/"+mount+"/role/")
		}
	}
	return ids, err
}

// aliases are what an entity shall be known by. Who logs in by a role on AWS is known by its ID.
func (c *Client) aliases(ctx context.Context, want Object) ([]string, error) {
	declared, _ := want.Fields["aliases"].([]string)
	out := slices.Clone(declared)
	mount := AWSMachinePath(c.cluster)
	for i, a := range out {
		name, ok := strings.CutPrefix(a, "auth/"+mount+"/ ")
		if !ok {
			continue
		}
		var role struct {
			ID string `json:"role_id"`
		}
		if err := c.get(ctx, awsRolePath(mount, name), &role); err != nil {
			return nil, err
		}
		out[i] = "auth/" + mount + "/ " + role.ID
	}
	return out, nil
}

// machine says whether there shall be a machine of this name, or can be a member of a group.
func (s State) machine(name string) bool {
	if s.has(KindAppRole, AppRolePath(s.Cluster, name)) || s.has(KindAWSRole, awsRolePath(AWSMachinePath(s.Cluster), name)) ||
		s.has(KindAWSRole, awsRolePath(AWSPoolPath(s.Cluster), name)) {
		return true
	}
	return s.has(KindAuth, "sys/auth/"+AWSPoolPath(s.Cluster)) && unit.IsMember(name)
}

// writeTemplated puts the accessor where its mark is, and templated the mark where the accessor is: a mount that was made
// anew has another, and shows as drift.
func writeTemplated(ctx context.Context, c *Client, want Object, _ *Object) error {
	f := want.Fields
	if !reflect.DeepEqual(f, replaced(f, poolMark, "")) {
		accessor, err := c.accessor(ctx, "auth/"+AWSPoolPath(c.cluster)+"/")
		if err != nil {
			return err
		}
		if accessor == "" {
			return fmt.Errorf("no auth method is mounted at %s", AWSPoolPath(c.cluster))
		}
		f = replaced(f, poolMark, accessor)
	}
	return c.put(ctx, want.Path, f, nil)
}

func templated(observe func(context.Context, observer) ([]Object, error)) func(context.Context, observer) ([]Object, error) {
	return func(ctx context.Context, o observer) ([]Object, error) {
		out, err := observe(ctx, o)
		if err != nil || !o.want.has(KindAuth, "sys/auth/"+AWSPoolPath(o.want.Cluster)) {
			return out, err
		}
		accessor, err := o.accessor(ctx, "auth/"+AWSPoolPath(o.want.Cluster)+"/")
		if accessor != "" {
			for i := range out {
				out[i].Fields = replaced(out[i].Fields, "aliases."+accessor+".", "aliases."+poolMark+".")
			}
		}
		return out, err
	}
}

// replaced replaces within every text of some fields.
func replaced(f Fields, old, text string) Fields {
	out := maps.Clone(f)
	for name, v := range f {
		switch v := v.(type) {
		case string:
			out[name] = strings.ReplaceAll(v, old, text)
		case []string:
			list := slices.Clone(v)
			for i := range list {
				list[i] = strings.ReplaceAll(list[i], old, text)
			}
			out[name] = list
		case []any:
			list := slices.Clone(v)
			for i := range list {
				if s, ok := list[i].(string); ok {
					list[i] = strings.ReplaceAll(s, old, text)
				}
			}
			out[name] = list
		}
	}
	return out
}

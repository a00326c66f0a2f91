package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// The kinds of object.
const (
	KindAudit   Kind = "audit device"
	KindMount   Kind = "mount"
	KindAuth    Kind = "auth method"
	KindPolicy  Kind = "policy"
	KindCA      Kind = "CA"
	KindSetting Kind = "setting"
	KindKey     Kind = "transit key"
	// KindIdentityRole is what tokens for people say.
	KindIdentityRole Kind = "identity role"
	KindProvider     Kind = "identity provider"
	KindProviderRole Kind = "identity provider's role"
	KindPKIRole      Kind = "PKI role"
	KindAppRole      Kind = "AppRole role"
	KindAWSRole      Kind = "AWS role"
	// KindAWSClient is how Vault asks AWS.
	KindAWSClient Kind = "AWS client"
	// KindAWSCertificate signs identity documents, KindAWSAccount is another account whose instances could log in.
	KindAWSCertificate Kind = "AWS certificate"
	KindAWSAccount     Kind = "AWS account"
	KindEntity         Kind = "entity"
	KindDocuments      Kind = "documents" // of a machine; observed only where there is no such machine
	KindRootToken      Kind = "root token"
)

// kind is how objects of a Kind are seen and changed.
type kind struct {
	// stage orders creation: an object needs only those of earlier stages. Those of stage 0 are made one by one: while
	// Vault sets an audit device up, it refuses every request that this device should have recorded.
	stage int
	// observe returns all objects of the kind that carry the cluster's name.
	observe func(context.Context, observer) ([]Object, error)
	// write creates (have is nil) or changes an object.
	write func(ctx context.Context, c *Client, want Object, have *Object) error
	// remove deletes it; nil: DELETE of its path.
	remove func(context.Context, *Client, Object) error
}

// observer is what observing needs.
type observer struct {
	*Client
	want State
}

// stages is how many stages there are.
const stages = 5

var kinds = map[Kind]kind{
	KindAudit:          {0, observeAudits, writeAudit, nil},
	KindMount:          {1, observeMounts, writeMount, nil},
	KindAuth:           {1, observeAuths, writeMount, nil},
	KindPolicy:         {2, templated(observePolicies), writeTemplated, nil},
	KindCA:             {2, observeCAs, writeCA, nil},
	KindSetting:        {2, observeWanted(KindSetting), writeFields, nil},
	KindKey:            {2, observeKeys, writeKey, removeKey},
	KindIdentityRole:   {3, observeIdentityRole, writeIdentityRole, nil},
	KindProvider:       {2, observeProvider, writeProvider, nil},
	KindProviderRole:   {2, observeProviderRoles, writeFields, nil},
	KindPKIRole:        {3, templated(observePKIRoles), writeTemplated, nil},
	KindSSHCA:          {2, observeSSHCAs, writeSSHCA, nil},
	KindSSHRole:        {3, templated(observeSSHRoles), writeTemplated, nil},
	KindAppRole:        {2, observeAppRoles, writeFields, nil},
	KindAWSClient:      {2, observeWanted(KindAWSClient), writeAWSClient, nil},
	KindAWSRole:        {2, observeAWSRoles, writeAWSRole, nil},
	KindAWSCertificate: {2, observeAWSCertificates, writeFields, nil},
	KindAWSAccount:     {2, observeAWSAccounts, nil, nil},
	KindEntity:         {3, observeEntities, writeEntity, nil},
	KindDocuments:      {4, observeDocuments, nil, nil},
	KindRootToken:      {4, observeRootTokens, nil, revokeToken},
}

func (o Object) stage() int { return kinds[o.Kind].stage }

// writeFields is all that most kinds need.
func writeFields(ctx context.Context, c *Client, want Object, _ *Object) error {
	return c.put(ctx, want.Path, want.Fields, nil)
}

func observePolicies(ctx context.Context, o observer) ([]Object, error) {
	return o.readAll(ctx, KindPolicy, "sys/policies/acl", func(name string) bool { return strings.HasPrefix(name, o.want.Cluster+"-") },
		func(ctx context.Context, path string) (Fields, error) {
			var f struct{ Policy string }
			err := o.get(ctx, path, &f)
			return Fields{"policy": f.Policy}, err
		})
}

func observePKIRoles(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, unit.CAs, func(ctx context.Context, ca unit.CA) ([]Object, error) {
		return o.readAll(ctx, KindPKIRole, PKIPath(o.want.Cluster, ca)+"/roles", nil, o.fields)
	})
}

func observeAppRoles(ctx context.Context, o observer) ([]Object, error) {
	mounts := []string{AuthPath(o.want.Cluster), RobotsPath(o.want.Cluster)}
	return gather(ctx, mounts, func(ctx context.Context, mount string) ([]Object, error) {
		return o.readAll(ctx, KindAppRole, "auth/"+mount+"/role", nil, o.appRole)
	})
}

func (o observer) appRole(ctx context.Context, path string) (Fields, error) {
	var id struct {
		RoleID string `json:"role_id"`
	}
	f, err := o.fields(ctx, path)
	if err == nil {
		err = o.get(ctx, path+"/role-id", &id)
	}
	if err != nil {
		return nil, err
	}
	f["role_id"] = id.RoleID
	delete(f, "local_secret_ids") // cannot be changed
	return f, nil
}

func observeKeys(ctx context.Context, o observer) ([]Object, error) {
	return o.readAll(ctx, KindKey, TransitPath(o.want.Cluster)+"/keys", nil,
		func(ctx context.Context, path string) (Fields, error) {
			f, err := o.fields(ctx, path)
			maps.DeleteFunc(f, func(name string, _ any) bool { return !slices.Contains(keyFields, name) })
			return f, err
		})
}

// keyFields are those of a transit key that the layout decides; its versions are the key's own business.
var keyFields = []string{"type", "derived", "exportable", "allow_plaintext_backup", "deletion_allowed"}

func writeKey(ctx context.Context, c *Client, want Object, have *Object) error {
	if have == nil {
		return c.put(ctx, want.Path, want.Fields, nil)
	}
	if canonical(have.Fields["type"]) != canonical(want.Fields["type"]) {
		return errors.New("it is of another type, and what it encrypted would be lost: replace it by hand")
	}
	// Once allowed, export and plaintext backup cannot be forbidden again; Vault then says so.
	return c.put(ctx, want.Path+"/config", Fields{"deletion_allowed": want.Fields["deletion_allowed"],
		"exportable": want.Fields["exportable"], "allow_plaintext_backup": want.Fields["allow_plaintext_backup"]}, nil)
}

func removeKey(ctx context.Context, c *Client, have Object) error {
	if err := c.put(ctx, have.Path+"/config", Fields{"deletion_allowed": true}, nil); err != nil {
		return err
	}
	return c.remove(ctx, have.Path)
}

// observeWanted reads just the objects of a kind that are wanted, and of each just the fields that are wanted.
func observeWanted(k Kind) func(context.Context, observer) ([]Object, error) {
	return func(ctx context.Context, o observer) ([]Object, error) {
		return gather(ctx, o.want.of(k), func(ctx context.Context, want Object) ([]Object, error) {
			f, err := o.fields(ctx, want.Path)
			if errors.Is(err, ErrNotFound) {
				return nil, nil
			}
			maps.DeleteFunc(f, func(name string, _ any) bool { _, ok := want.Fields[name]; return !ok })
			return []Object{{k, want.Path, f}}, err
		})
	}
}

// observeDocuments finds documents of machines that are no more.
func observeDocuments(ctx context.Context, o observer) ([]Object, error) {
	root := o.want.Cluster + "/machines/metadata"
	names, err := o.list(ctx, root)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		return o.want.machine(strings.TrimSuffix(n, "/"))
	})
	return gather(ctx, names, func(ctx context.Context, name string) ([]Object, error) {
		keys := []string{""}
		if strings.HasSuffix(name, "/") {
			if keys, err = o.list(ctx, path.Join(root, name)); err != nil {
				return nil, err
			}
		}
		var out []Object
		for _, k := range keys {
			out = append(out, Object{Kind: KindDocuments, Path: path.Join(root, name, k)})
		}
		return out, nil
	})
}

// observeRootTokens finds root tokens other than the caller's own: none may live longer than the work it was made for.
func observeRootTokens(ctx context.Context, o observer) ([]Object, error) {
	var self struct{ Accessor string }
	if err := o.get(ctx, "auth/token/lookup-self", &self); err != nil {
		return nil, err
	}
	accessors, err := o.list(ctx, "auth/token/accessors")
	if err != nil {
		return nil, err
	}
	return gather(ctx, accessors, func(ctx context.Context, accessor string) ([]Object, error) {
		var token struct {
			Policies []string
			Created  int64 `json:"creation_time"`
		}
		if accessor == self.Accessor {
			return nil, nil
		}
		there, err := o.lookUp(ctx, accessor, &token)
		if err != nil || !there || !slices.Contains(token.Policies, "root") {
			return nil, err
		}
		return []Object{{KindRootToken, "auth/token/accessor/" + accessor, Fields{"creation_time": token.Created}}}, nil
	})
}

func revokeToken(ctx context.Context, c *Client, have Object) error {
	err := c.put(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": path.Base(have.Path)}, nil)
	if err != nil {
		return fmt.Errorf("revoke by accessor: %w", err)
	}
	return nil
}

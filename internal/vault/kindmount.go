package vault

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func observeAudits(ctx context.Context, o observer) ([]Object, error) {
	var devices map[string]struct {
		Type    string
		Options map[string]string
	}
	if err := o.get(ctx, "sys/audit", &devices); err != nil {
		return nil, err
	}
	var out []Object
	for name, d := range devices {
		path := "sys/audit/" + strings.TrimSuffix(name, "/")
		if !o.want.has(KindAudit, path) {
			continue // somebody may well listen in addition
		}
		f := Fields{"type": d.Type}
		for k, v := range d.Options {
			f[k] = v
		}
		out = append(out, Object{KindAudit, path, f})
	}
	return out, nil
}

// writeAudit enables a device. A device cannot be changed, so one that differs is made anew.
func writeAudit(ctx context.Context, c *Client, want Object, have *Object) error {
	if have != nil {
		if err := c.remove(ctx, want.Path); err != nil {
			return err
		}
	}
	options := maps.Clone(want.Fields)
	delete(options, "type")
	return c.put(ctx, want.Path, map[string]any{"type": want.Fields["type"], "options": options}, nil)
}

// mounted is what Vault says about a mounted engine or auth method.
type mounted struct {
	Type, Description string
	Options           map[string]string
	Config            struct {
		DefaultTTL   int64    `json:"default_lease_ttl"`
		MaxTTL       int64    `json:"max_lease_ttl"`
		RequestKeys  []string `json:"audit_non_hmac_request_keys"`
		ResponseKeys []string `json:"audit_non_hmac_response_keys"`
		Lockout      struct {
			Disabled bool `json:"user_lockout_disable"`
		} `json:"user_lockout_config"`
	}
}

func observeMounts(ctx context.Context, o observer) ([]Object, error) {
	return o.mounts(ctx, KindMount, "sys/mounts", func(m mounted) Fields {
		return Fields{
			"type": m.Type, "description": m.Description, "version": m.Options["version"],
			"default_lease_ttl": m.Config.DefaultTTL, "max_lease_ttl": m.Config.MaxTTL,
			"audit_non_hmac_request_keys": m.Config.RequestKeys, "audit_non_hmac_response_keys": m.Config.ResponseKeys,
		}
	})
}

func observeAuths(ctx context.Context, o observer) ([]Object, error) {
	return o.mounts(ctx, KindAuth, "sys/auth", func(m mounted) Fields {
		f := Fields{
			"type": m.Type, "description": m.Description,
			"default_lease_ttl": m.Config.DefaultTTL, "max_lease_ttl": m.Config.MaxTTL,
		}
		if m.Type == "approle" || m.Type == "userpass" { // the others have no lock
			f[lockoutDisabled] = m.Config.Lockout.Disabled
		}
		return f
	})
}

// lockoutDisabled says that nobody is locked out after failed logins.
const lockoutDisabled = "user_lockout_disable"

func (o observer) mounts(ctx context.Context, k Kind, root string, fields func(mounted) Fields) ([]Object, error) {
	var all map[string]mounted
	if err := o.get(ctx, root, &all); err != nil {
		return nil, err
	}
	var out []Object
	for name, m := range all {
		if strings.HasPrefix(name, o.want.Cluster+"/") {
			out = append(out, Object{k, root + "/" + strings.TrimSuffix(name, "/"), fields(m)})
		}
	}
	return out, nil
}

func writeMount(ctx context.Context, c *Client, want Object, have *Object) error {
	config := maps.Clone(want.Fields)
	maps.DeleteFunc(config, func(k string, _ any) bool {
		return k == "type" || k == "description" || k == "version" || k == lockoutDisabled
	})
	body := map[string]any{"type": want.Fields["type"], "description": want.Fields["description"], "config": config}
	version, _ := want.Fields["version"].(string)
	if version != "" {
		body["options"] = map[string]string{"version": version}
	}
	lockout, lockable := want.Fields[lockoutDisabled]
	if have == nil {
		if err := c.put(ctx, want.Path, body, nil); err != nil || lockout != true {
			return err
		}
	}
	for _, fixed := range []string{"type", "version"} {
		if have != nil && canonical(have.Fields[fixed]) != canonical(want.Fields[fixed]) {
			return fmt.Errorf("its %s cannot be changed, and to remove it would lose what it holds: do that by hand", fixed)
		}
	}
	config["description"] = want.Fields["description"]
	if lockable {
		config["user_lockout_config"] = map[string]any{"lockout_disable": lockout} // which only tune takes
	}
	return c.put(ctx, want.Path+"/tune", config, nil)
}

// observeCAs reads the certificate that each PKI mount issues with.
func observeCAs(ctx context.Context, o observer) ([]Object, error) {
	return gather(ctx, o.want.of(KindCA), func(ctx context.Context, want Object) ([]Object, error) {
		text, err := o.caCertificate(ctx, strings.TrimSuffix(want.Path, "/root/generate/internal"))
		if errors.Is(err, ErrNotFound) || err == nil && text == "" {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		f, err := caFields(text, want.Fields)
		return []Object{{KindCA, want.Path, f}}, err
	})
}

// caFields compares only what a new CA would fix. A CA of another lifetime is replaced by rotation, not by repair.
func caFields(text string, want Fields) (Fields, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the CA's certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate: %w", err)
	}
	f := maps.Clone(want)
	f["common_name"] = cert.Subject.CommonName
	return f, nil
}

func writeCA(ctx context.Context, c *Client, want Object, have *Object) error {
	if have != nil {
		return errors.New("this is not the CA that was made for the cluster, and every certificate in use hangs on it: restore Vault's storage, or rotate the CA")
	}
	return c.put(ctx, want.Path, want.Fields, nil)
}

// retry repeats f while a new KV engine prepares its storage, which it says in words only.
func retry(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		var refused *Error
		if !errors.As(err, &refused) || !slices.ContainsFunc(preparing, refused.says) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

var preparing = []string{"Upgrading from non-versioned to versioned data", "upgrade is in progress"}

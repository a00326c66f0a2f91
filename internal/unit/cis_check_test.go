package unit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

func strong(suites ...string) bool {
	return !slices.ContainsFunc(suites, func(s string) bool {
		return !slices.Contains([]string{
			"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		}, s)
	})
}

func anonymousSeesHealth(u unit.Unit) error {
	var c struct {
		Anonymous *struct {
			Enabled    bool
			Conditions []struct{ Path string }
		}
	}
	if v, _ := argument(u, "--authentication-config"); v != authenticationYAML {
		return fmt.Errorf("--authentication-config is %q", v)
	}
	if err := decode(file(u, authenticationYAML), &c); err != nil {
		return err
	}
	if c.Anonymous == nil || c.Anonymous.Enabled && len(c.Anonymous.Conditions) == 0 {
		return errors.New("anonymous requests reach everything")
	}
	for _, at := range c.Anonymous.Conditions {
		if !slices.Contains([]string{"/livez", "/readyz", "/healthz"}, at.Path) {
			return fmt.Errorf("anonymous requests reach %s", at.Path)
		}
	}
	return nil
}

func authorizers(right func(types []string) bool) check {
	return all(unset("--authorization-mode"), is("--authorization-config", authorizationYAML), func(u unit.Unit) error {
		var c struct{ Authorizers []struct{ Type string } }
		if err := decode(file(u, authorizationYAML), &c); err != nil {
			return err
		}
		var types []string
		for _, a := range c.Authorizers {
			types = append(types, a.Type)
		}
		if !right(types) {
			return fmt.Errorf("authorizers are %v", types)
		}
		return nil
	})
}

func eventsApart(u unit.Unit) error {
	servers, _ := argument(u, "--etcd-servers")
	overrides, _ := argument(u, "--etcd-servers-overrides")
	events, ok := strings.CutPrefix(overrides, "/events#")
	if !ok {
		return errors.New("events are stored with all else")
	}
	for url := range strings.SplitSeq(events, ";") {
		if slices.Contains(strings.Split(servers, ","), url) {
			return fmt.Errorf("events are stored with all else on %s", url)
		}
	}
	return nil
}

// secretsAreSealed: the first provider is the one that writes.
func secretsAreSealed(u unit.Unit) error {
	var c struct {
		Resources []struct {
			Resources []string
			Providers []map[string]any
		}
	}
	if err := decode(file(u, encryptionYAML), &c); err != nil {
		return err
	}
	for _, r := range c.Resources {
		if !slices.Contains(r.Resources, "secrets") {
			continue
		}
		if _, ok := r.Providers[0]["kms"]; !ok {
			return fmt.Errorf("secrets are written by %v", r.Providers[0])
		}
		return nil
	}
	return errors.New("secrets are written as they are")
}

func etcdCA(u unit.Unit) error {
	for _, flag := range []string{"--trusted-ca-file", "--peer-trusted-ca-file"} {
		if v, _ := argument(u, flag); v != unit.CAFile(unit.CAEtcdKubernetes) && v != unit.CAFile(unit.CAEtcdOverlay) {
			return fmt.Errorf("%s is %q", flag, v)
		}
	}
	return nil
}

func namedAsInCertificates(u unit.Unit) error {
	name, _ := argument(u, "--hostname-override")
	for _, c := range u.Certificates {
		if !slices.Contains([]string{name, "system:node:" + name}, c.Profile.CommonName) {
			return fmt.Errorf("the node is called %q, and its certificate says %s", name, c.Profile.CommonName)
		}
	}
	return nil
}

func kubeletServing(u unit.Unit) error {
	isRenewed := func(v any) bool { return renewed(u, fmt.Sprint(v)) }
	return all(
		setting(kubeletYAML, "tlsCertFile", "--tls-cert-file", "a certificate of the unit", isRenewed),
		setting(kubeletYAML, "tlsPrivateKeyFile", "--tls-private-key-file", "a key of the unit", isRenewed))(u)
}

func kubeletClient(u unit.Unit) error {
	var c struct {
		Users []struct{ User map[string]string }
	}
	config, _ := argument(u, "--kubeconfig")
	if err := decode(file(u, config), &c); err != nil {
		return err
	}
	for _, field := range []string{"client-certificate", "client-key"} {
		if v := c.Users[0].User[field]; !renewed(u, v) {
			return fmt.Errorf("%s is %q", field, v)
		}
	}
	return nil
}

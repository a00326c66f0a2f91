package vault

import (
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// entityMachine is how Vault's templates name the machine that asks.
const entityMachine = "{{identity.entity.metadata.machine}}"

// pkiRoles makes a PKI role of every certificate profile.
func pkiRoles(in Input) []Object {
	var out []Object
	for _, p := range unit.Profiles {
		out = append(out, Object{KindPKIRole, PKIPath(in.Cluster, p.CA) + "/roles/" + p.Name, pkiRole(in, p)})
	}
	return out
}

// pkiRole lists every field that a PKI role has, also those that are as Vault has them by default: a change to any
// of them is a hole.
func pkiRole(in Input, p unit.Profile) Fields {
	ttl := seconds(in.LeafTTL)
	if p.Role == unit.RoleOperator {
		ttl = seconds(in.AdminTTL)
	}
	return Fields{
		"issuer_ref": "default",
		"ttl":        ttl,
		"max_ttl":    ttl,
		"not_after":  "",
		// Machines' clocks may be behind.
		"not_before_duration": int64(30),

		// The names are exactly those of the profile. The default validation of common names, which is what compares
		// them with allowed_domains, must be left alone: cn_validations=disabled signs anything.
		"allowed_domains":             allowedNames(in, p),
		"allowed_domains_template":    true,
		"allow_bare_domains":          true,
		"enforce_hostnames":           false,
		"require_cn":                  true,
		"cn_validations":              []string{"email", "hostname"},
		"use_csr_common_name":         false,
		"use_csr_sans":                false,
		"serial_number_source":        "json",
		"allow_any_name":              false,
		"allow_subdomains":            false,
		"allow_glob_domains":          false,
		"allow_wildcard_certificates": false,
		"allow_localhost":             false,
		"allow_token_displayname":     false,
		"allow_ip_sans":               p.APIAddress, // which one, the policy says
		"allowed_uri_sans":            []string{},
		"allowed_uri_sans_template":   false,
		"allowed_other_sans":          []string{},
		"allowed_serial_numbers":      []string{},
		"allowed_user_ids":            []string{},

		"organization":   slices.Clone(p.Organizations),
		"ou":             []string{},
		"country":        []string{},
		"locality":       []string{},
		"province":       []string{},
		"street_address": []string{},
		"postal_code":    []string{},

		"key_type":                           "ec",
		"key_bits":                           int64(256),
		"signature_bits":                     int64(256),
		"use_pss":                            false,
		"key_usage":                          []string{"DigitalSignature"},
		"ext_key_usage":                      []string{},
		"ext_key_usage_oids":                 []string{},
		"server_flag":                        p.Server,
		"client_flag":                        p.Client,
		"code_signing_flag":                  false,
		"email_protection_flag":              false,
		"basic_constraints_valid_for_non_ca": false,
		"policy_identifiers":                 []string{},

		// Stored, so that they can be listed and revoked; without a lease, which would only cost memory.
		"no_store":       false,
		"generate_lease": false,
	}
}

// allowedNames are the profile's names, with Vault's template for the machine's own.
func allowedNames(in Input, p unit.Profile) []string {
	var names []string
	for _, n := range append([]string{p.CommonName}, p.DNSNames...) {
		names = append(names, strings.ReplaceAll(n, unit.Self, in.self(p.Role)))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

package simulate

import (
	"strings"

	"github.com/zclconf/go-cty/cty"
)

var nameKinds = map[string]kind{
	"aws_route53_zone": {
		id: late, replace: "name delegation_set_id", defaults: map[string]any{"comment": "Managed by Terraform", "force_destroy": false},
		made: func(o *object) {
			o.set("id", "Z"+strings.ToUpper(o.form("{20}")))
			o.set("zone_id", o.str("id"))
			o.set("arn", o.form("arn:aws:route53:::hostedzone/{id}"))
			o.set("primary_name_server", "ns-1.awsdns-00.com")
			o.set("name_servers", []string{"ns-1.awsdns-00.com", "ns-2.awsdns-00.net", "ns-3.awsdns-00.org", "ns-4.awsdns-00.co.uk"})
			o.setNested("vpc", "vpc_region", o.form("{region}"))
		},
		check: func(c *checked) {
			if !c.missing("delegation_set_id") && !c.missing("vpc") {
				c.fail("aws_route53_zone: a private zone has no delegation_set_id")
			}
		},
	},
	"aws_route53_record": {
		id: "{zone_id}_{name}_{type}", replace: "zone_id name set_identifier", one: []string{"records alias"}, together: []string{"records ttl"},
		made: func(o *object) {
			name, zone := o.str("name"), strings.TrimSuffix(o.of("aws_route53_zone", o.str("zone_id"), "name"), ".")
			if zone != "" && name != zone && !strings.HasSuffix(name, "."+zone) {
				name += "." + zone
			}
			o.set("fqdn", name)
			o.alone("zone_id", "name", "type", "set_identifier")
		},
		check: func(c *checked) {
			c.among("type", "A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT")
		},
	},
	"aws_route53_zone_association": {
		id: "{zone_id}:{vpc_id}", replace: "zone_id vpc_id vpc_region",
		made: func(o *object) { o.set("vpc_region", o.form("{region}")) },
	},
	"aws_acm_certificate": {
		id: late, late: "options",
		replace: "certificate_authority_arn domain_name key_algorithm subject_alternative_names validation_method validation_option",
		ahead:   func(o *object) { validations(o, false) },
		made: func(o *object) {
			o.set("arn", o.form("arn:aws:acm:{region}:{account}:certificate/{uuid}"))
			o.set("id", o.str("arn"))
			o.set("status", "PENDING_VALIDATION")
			o.set("type", "AMAZON_ISSUED")
			o.set("key_algorithm", "RSA_2048")
			o.values["domain_validation_options"] = cty.UnknownVal(o.values["domain_validation_options"].Type())
			validations(o, true)
		},
		check: func(c *checked) { c.among("validation_method", "DNS", "EMAIL", "NONE") },
	},
	"aws_acm_certificate_validation": {
		id: late, replace: "certificate_arn validation_record_fqdns",
		made: func(o *object) { o.set("id", "2026-01-01 00:00:00 +0000 UTC") },
	},
	"aws_wafv2_ip_set": {
		id: "{uuid}", arn: "wafv2:{region}:{account}:regional/ipset/{name}/{id}", replace: "name name_prefix scope ip_address_version description",
		changing: "lock_token", made: func(o *object) { o.set("lock_token", o.form("{uuid}")) },
	},
}

// validations are the records by which the owner of a domain is told. The provider knows their domains ahead, so that
// there can be a record for each of them.
func validations(o *object, issued bool) {
	if o.str("validation_method") != "DNS" || o.str("domain_name") == "" {
		return
	}
	domains := []string{o.str("domain_name")}
	for _, d := range texts(o.values["subject_alternative_names"]) {
		if d != domains[0] {
			domains = append(domains, d)
		}
	}
	o.set("subject_alternative_names", domains)
	t := o.values["domain_validation_options"].Type()
	var all []cty.Value
	for _, d := range domains {
		fields := map[string]cty.Value{"domain_name": cty.StringVal(d)}
		for _, f := range []string{"resource_record_name", "resource_record_type", "resource_record_value"} {
			fields[f] = cty.UnknownVal(cty.String)
		}
		if issued {
			fields["resource_record_name"] = cty.StringVal("_" + o.form("{32}") + "." + strings.TrimPrefix(d, "*.") + ".")
			fields["resource_record_type"] = cty.StringVal("CNAME")
			fields["resource_record_value"] = cty.StringVal("_" + o.form("{32}") + ".acm-validations.aws.")
		}
		all = append(all, cty.ObjectVal(fields))
	}
	o.values["domain_validation_options"] = collection(t, all)
}

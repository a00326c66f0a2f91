package simulate

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	identityName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	roleName     = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	identityText = regexp.MustCompile(`^[\x{0009}\x{000A}\x{000D}\x{0020}-\x{007E}\x{00A1}-\x{00FF}]{0,1000}$`)
	aliasName    = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
)

var identityKinds = map[string]kind{
	"aws_iam_role": {
		id: "{name}", arn: "iam::{account}:role{path}{name}", replace: "name name_prefix path", late: "inline_policy",
		defaults: map[string]any{"force_detach_policies": false, "max_session_duration": 3600, "path": "/"},
		atMost:   []string{"name name_prefix"},
		made: func(o *object) {
			o.alone("name")
			o.set("create_date", made)
			o.set("unique_id", "AROA"+strings.ToUpper(o.form("{17}")))
		},
		check: func(c *checked) {
			c.matches(roleName, "name")
			c.matches(identityText, "description")
			c.policy("assume_role_policy", 2048)
		},
	},
	"aws_iam_role_policy": {
		id: "{role}:{name}", replace: "name name_prefix role", atMost: []string{"name name_prefix"},
		check: func(c *checked) { c.matches(identityName, "name"); c.policy("policy", 10240) },
	},
	"aws_iam_policy": {
		id: late, replace: "name name_prefix description path", defaults: map[string]any{"path": "/"}, atMost: []string{"name name_prefix"},
		made: func(o *object) {
			o.set("arn", o.form("arn:aws:iam::{account}:policy{path}{name}"))
			o.set("id", o.str("arn"))
			o.set("policy_id", "ANPA"+strings.ToUpper(o.form("{17}")))
			o.alone("name")
		},
		check: func(c *checked) {
			c.matches(identityName, "name")
			c.matches(identityText, "description")
			c.policy("policy", 6144)
		},
	},
	"aws_iam_role_policy_attachment": {
		id: "{role}-{26}", replace: "role policy_arn",
		made: func(o *object) { o.alone("role", "policy_arn") },
		check: func(c *checked) {
			c.matches(regexp.MustCompile(`^arn:aws[a-z-]*:iam::(aws|\d{12}):policy/`), "policy_arn")
		},
	},
	"aws_iam_instance_profile": {
		id: "{name}", arn: "iam::{account}:instance-profile{path}{name}", replace: "name name_prefix path", defaults: map[string]any{"path": "/"},
		atMost: []string{"name name_prefix"},
		made: func(o *object) {
			o.alone("name")
			o.set("create_date", made)
			o.set("unique_id", "AIPA"+strings.ToUpper(o.form("{17}")))
		},
		check: func(c *checked) { c.matches(identityName, "name") },
	},
	"aws_kms_key": {
		id: "{uuid}", arn: "kms:{region}:{account}:key/{id}", replace: "key_usage customer_master_key_spec custom_key_store_id multi_region xks_key_id",
		defaults: map[string]any{
			"bypass_policy_lockout_safety_check": false, "customer_master_key_spec": "SYMMETRIC_DEFAULT", "enable_key_rotation": false, "is_enabled": true,
			"key_usage": "ENCRYPT_DECRYPT",
		},
		made: func(o *object) {
			o.set("key_id", o.str("id"))
			o.set("policy", o.form(`{"Id":"key-default-1","Statement":[{"Action":"kms:*","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::{account}:root"},`+
				`"Resource":"*","Sid":"Enable IAM User Permissions"}],"Version":"2012-10-17"}`))
			if o.yes("enable_key_rotation") {
				o.set("rotation_period_in_days", 365)
			}
		},
		check: func(c *checked) {
			c.policy("policy", 32768)
			if d := c.str("deletion_window_in_days"); d != "" {
				if n, err := strconv.Atoi(d); err != nil || n < 7 || n > 30 {
					c.fail("aws_kms_key: deletion_window_in_days is from 7 to 30, not %s", d)
				}
			}
		},
	},
	"aws_kms_alias": {
		id: "{name}", arn: "kms:{region}:{account}:{name}", replace: "name name_prefix",
		made: func(o *object) {
			o.alone("name")
			key := o.str("target_key_id")
			if !strings.HasPrefix(key, "arn:") {
				key = o.form("arn:aws:kms:{region}:{account}:key/") + key
			}
			o.set("target_key_arn", key)
		},
		check: func(c *checked) {
			c.matches(aliasName, "name")
			if strings.HasPrefix(c.str("name"), "alias/aws/") {
				c.fail("aws_kms_alias: alias/aws/ is AWS's own")
			}
		},
	},
	"aws_kms_grant": {
		id: "{key_id}:{64}", replace: "name key_id grantee_principal operations retiring_principal constraints grant_creation_tokens retire_on_delete",
		defaults: map[string]any{"retire_on_delete": false},
		made:     func(o *object) { o.set("grant_id", o.form("{64}")); o.set("grant_token", o.form("{64}")) },
	},
	"aws_kms_key_policy": {
		id: "{key_id}", replace: "key_id", defaults: map[string]any{"bypass_policy_lockout_safety_check": false},
		check: func(c *checked) { c.policy("policy", 32768) },
	},
}

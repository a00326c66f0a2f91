package simulate

import "regexp"

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ofBucket is a part of a bucket's configuration, which the provider has as a resource of its own.
func ofBucket(k kind) kind {
	k.id, k.replace = "{bucket}", "bucket expected_bucket_owner "+k.replace
	check := k.check
	k.check = func(c *checked) {
		c.matches(bucketName, "bucket")
		if check != nil {
			check(c)
		}
	}
	k.made = func(o *object) { o.alone("bucket") }
	return k
}

var storageKinds = map[string]kind{
	"aws_s3_bucket": {
		id: "{bucket}", arn: "s3:::{bucket}", replace: "bucket bucket_prefix object_lock_enabled", defaults: map[string]any{"force_destroy": false},
		late: "cors_rule grant lifecycle_rule logging object_lock_configuration replication_configuration server_side_encryption_configuration " +
			"versioning website",
		atMost: []string{"bucket bucket_prefix"},
		made: func(o *object) {
			o.alone("bucket")
			o.set("bucket_domain_name", o.str("bucket")+".s3.amazonaws.com")
			o.set("bucket_regional_domain_name", o.str("bucket")+".s3."+o.form("{region}")+".amazonaws.com")
			o.set("bucket_region", o.form("{region}"))
			o.set("hosted_zone_id", "Z21DNDUVLTQW6Q")
			o.set("request_payer", "BucketOwner")
		},
		check: func(c *checked) { c.matches(bucketName, "bucket") },
	},
	"aws_s3_bucket_versioning":                           ofBucket(kind{}),
	"aws_s3_bucket_server_side_encryption_configuration": ofBucket(kind{}),
	"aws_s3_bucket_logging":                              ofBucket(kind{}),
	"aws_s3_bucket_object_lock_configuration":            ofBucket(kind{}),
	"aws_s3_bucket_ownership_controls":                   ofBucket(kind{}),
	"aws_s3_bucket_lifecycle_configuration":              ofBucket(kind{}),
	"aws_s3_bucket_policy":                               ofBucket(kind{check: func(c *checked) { c.policy("policy", 20480) }}),
	"aws_s3_bucket_public_access_block": ofBucket(kind{defaults: map[string]any{
		"block_public_acls": false, "block_public_policy": false, "ignore_public_acls": false, "restrict_public_buckets": false,
	}}),
	"aws_s3_object": {
		id: "{bucket}/{key}", arn: "s3:::{bucket}/{key}", replace: "bucket key", defaults: map[string]any{"force_destroy": false},
		atMost: []string{"content content_base64 source"}, changing: "etag version_id",
		made: func(o *object) {
			o.set("etag", o.form("{32}"))
			o.set("storage_class", "STANDARD")
			o.set("content_type", "application/octet-stream")
			o.set("server_side_encryption", "AES256")
		},
	},
	"aws_cloudwatch_log_group": {
		id: "{name}", arn: "logs:{region}:{account}:log-group:{name}", replace: "name name_prefix log_group_class",
		defaults: map[string]any{"retention_in_days": 0, "skip_destroy": false, "log_group_class": "STANDARD"},
		atMost:   []string{"name name_prefix"},
		made:     func(o *object) { o.alone("name") },
		check: func(c *checked) {
			c.matches(length(1, 512, `[a-zA-Z0-9_/.#-]`), "name")
			c.among("retention_in_days", "0", "1", "3", "5", "7", "14", "30", "60", "90", "120", "150", "180", "365", "400", "545", "731", "1096", "1827",
				"2192", "2557", "2922", "3288", "3653")
		},
	},
	"aws_ssm_parameter": {
		id: "{name}", arn: "ssm:{region}:{account}:parameter{name}", replace: "name",
		one:   []string{"value insecure_value value_wo"},
		made:  func(o *object) { o.set("version", 1); o.set("data_type", "text"); o.set("tier", "Standard") },
		check: func(c *checked) { c.among("type", "String", "StringList", "SecureString") },
	},
}

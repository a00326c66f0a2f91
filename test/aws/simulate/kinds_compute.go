package simulate

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/zclconf/go-cty/cty"
)

// userDataLimit is AWS's, of what the instance sees.
const userDataLimit = 16384

var computeKinds = map[string]kind{
	"aws_instance": {
		id: "i-{17}", arn: ec2 + "instance/{id}",
		replace: "ami associate_public_ip_address availability_zone cpu_options.core_count cpu_options.threads_per_core cpu_options.amd_sev_snp " +
			"ebs_optimized enclave_options.enabled ephemeral_block_device hibernation host_id instance_market_options ipv6_address_count " +
			"ipv6_addresses key_name launch_template.id launch_template.name network_interface placement_group placement_partition_number " +
			"primary_network_interface.network_interface_id private_dns_name_options private_ip security_groups subnet_id tenancy " +
			"root_block_device.encrypted root_block_device.kms_key_id ebs_block_device",
		alsoIf: map[string]string{"user_data_replace_on_change": "user_data user_data_base64"},
		late: "capacity_reservation_specification cpu_options ebs_block_device enclave_options ephemeral_block_device instance_market_options " +
			"maintenance_options metadata_options network_interface primary_network_interface private_dns_name_options root_block_device",
		defaults: map[string]any{
			"get_password_data": false, "source_dest_check": true, "user_data_replace_on_change": false, "force_destroy": false,
			"root_block_device.delete_on_termination": true, "ebs_block_device.delete_on_termination": true,
			"metadata_options.http_endpoint": "enabled", "metadata_options.http_protocol_ipv6": "disabled",
			"network_interface.delete_on_termination": false, "network_interface.network_card_index": 0, "launch_template.version": "$Default",
		},
		atMost: []string{"user_data user_data_base64"}, made: madeInstance, check: checkInstance,
	},
	"aws_launch_template": {
		id: "lt-{17}", arn: ec2 + "launch-template/{id}", replace: "name name_prefix", late: "metadata_options", changing: "latest_version default_version",
		atMost: []string{"name name_prefix", "default_version update_default_version", "security_group_names vpc_security_group_ids"},
		made: func(o *object) {
			version := 1
			if !o.fresh {
				version, _ = strconv.Atoi((&object{values: o.prior.AsValueMap()}).str("latest_version"))
				version++
			}
			o.set("latest_version", version)
			if o.fresh || o.yes("update_default_version") {
				o.set("default_version", version)
			} else {
				o.set("default_version", o.prior.GetAttr("default_version"))
			}
		},
		check: func(c *checked) {
			c.matches(length(3, 128, `[a-zA-Z0-9().\-/_]`), "name")
			if d := c.str("user_data"); d != "" {
				plain, err := base64.StdEncoding.DecodeString(d)
				if err != nil {
					c.fail("aws_launch_template: user_data is not in base64: %v", err)
				}
				if len(plain) > userDataLimit {
					c.fail("aws_launch_template: user data is limited to %d bytes, and is %d", userDataLimit, len(plain))
				}
			}
			if !c.missing("network_interfaces") && !c.missing("vpc_security_group_ids") {
				c.fail("aws_launch_template: with network_interfaces, security groups are given there")
			}
		},
	},
	"aws_autoscaling_group": {
		id: "{name}", arn: "autoscaling:{region}:{account}:autoScalingGroup:{uuid}:autoScalingGroupName/{name}", replace: "name name_prefix",
		defaults: map[string]any{
			"force_delete": false, "force_delete_warm_pool": false, "ignore_failed_scaling_activities": false, "health_check_grace_period": 300,
			"metrics_granularity": "1Minute", "protect_from_scale_in": false, "wait_for_capacity_timeout": "10m",
		},
		one:    []string{"launch_configuration launch_template mixed_instances_policy"},
		atMost: []string{"name name_prefix", "availability_zones vpc_zone_identifier"},
		late:   "availability_zone_distribution capacity_reservation_specification traffic_source", made: madeGroup, check: checkGroup,
	},
	"aws_autoscaling_attachment": {
		id: "{autoscaling_group_name}-{17}", replace: "autoscaling_group_name elb lb_target_group_arn", one: []string{"elb lb_target_group_arn"},
	},
	"aws_autoscaling_lifecycle_hook": {
		id: "{name}", replace: "name autoscaling_group_name",
		check: func(c *checked) {
			c.among("lifecycle_transition", "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING")
			c.among("default_result", "ABANDON", "CONTINUE")
		},
		made: func(o *object) { o.set("default_result", "ABANDON") },
	},
	"aws_autoscaling_policy": {
		id: "{name}", arn: "autoscaling:{region}:{account}:scalingPolicy:{uuid}:autoScalingGroupName/{autoscaling_group_name}:policyName/{name}",
		replace: "name autoscaling_group_name", defaults: map[string]any{"policy_type": "SimpleScaling", "enabled": true},
	},
	"aws_ebs_volume": {
		id: "vol-{17}", arn: ec2 + "volume/{id}", defaults: map[string]any{"final_snapshot": false},
		replace: "availability_zone encrypted kms_key_id snapshot_id multi_attach_enabled outpost_arn volume_initialization_rate",
		made: func(o *object) {
			o.set("type", "gp2")
			o.set("create_time", made)
			if o.str("type") == "gp3" {
				o.set("iops", 3000)
				o.set("throughput", 125)
			}
		},
		check: func(c *checked) {
			if c.missing("size") && c.missing("snapshot_id") {
				c.fail("aws_ebs_volume: size or snapshot_id must be given")
			}
			c.among("type", "standard", "gp2", "gp3", "io1", "io2", "sc1", "st1")
		},
	},
	"aws_volume_attachment": {
		id: "vai-{10}", replace: "device_name instance_id volume_id",
		made: func(o *object) {
			volume, instance := o.of("aws_ebs_volume", o.str("volume_id"), "availability_zone"), o.of("aws_instance", o.str("instance_id"), "availability_zone")
			if volume != "" && instance != "" && volume != instance {
				o.fail("aws_volume_attachment: InvalidVolume.ZoneMismatch: %s is in %s, %s in %s", o.str("volume_id"), volume, o.str("instance_id"), instance)
			}
			o.alone("volume_id")
			o.alone("instance_id", "device_name")
		},
	},
	"aws_ebs_encryption_by_default": {id: "terraform-{26}", defaults: map[string]any{"enabled": true}},
	"aws_placement_group": {
		id: "{name}", arn: ec2 + "placement-group/{name}", replace: "name partition_count spread_level strategy",
		made:  func(o *object) { o.set("placement_group_id", o.form("pg-{17}")) },
		check: func(c *checked) { c.among("strategy", "cluster", "partition", "spread") },
	},
}

// made is when everything was made.
const made = "2026-01-01T00:00:00Z"

func checkInstance(c *checked) {
	if n := len(c.str("user_data")); n > userDataLimit {
		c.fail("aws_instance: user data is limited to %d bytes, and is %d", userDataLimit, n)
	}
	for _, from := range []string{"ami", "instance_type"} {
		if c.missing(from) && c.missing("launch_template") {
			c.fail("aws_instance: %s must be given, or a launch_template", from)
		}
	}
	for _, primary := range []string{"network_interface", "primary_network_interface"} {
		if c.missing(primary) {
			continue
		}
		for _, other := range []string{"associate_public_ip_address", "enable_primary_ipv6", "ipv6_address_count", "ipv6_addresses", "private_ip",
			"secondary_private_ips", "security_groups", "source_dest_check", "subnet_id", "vpc_security_group_ids"} {
			if v := c.values[other]; v.IsKnown() && !v.IsNull() && (primary == "primary_network_interface" || other != "source_dest_check") {
				c.fail("aws_instance: %s conflicts with %s: it is for the network interface to say", other, primary)
			}
		}
	}
}

func madeInstance(o *object) {
	region := o.form("{region}")
	eni := o.first("primary_network_interface", "network_interface_id")
	if eni == "" {
		eni = o.first("network_interface", "network_interface_id")
	}
	if eni != "" {
		o.set("subnet_id", o.of("aws_network_interface", eni, "subnet_id"))
		o.set("private_ip", o.of("aws_network_interface", eni, "private_ip"))
		found, err := o.s.world.get("aws_network_interface", eni, o.s.schema.Resources["aws_network_interface"].Type())
		if err == nil && !found.IsNull() {
			o.set("vpc_security_group_ids", texts(found.GetAttr("security_groups")))
		}
	} else {
		eni = o.form("eni-{17}")
	}
	o.set("primary_network_interface_id", eni)
	subnet := o.str("subnet_id")
	o.set("private_ip", o.address(subnet))
	o.set("private_dns", privateName(o.str("private_ip"), region))
	o.set("availability_zone", o.of("aws_subnet", subnet, "availability_zone"))
	o.set("associate_public_ip_address", o.of("aws_subnet", subnet, "map_public_ip_on_launch") == "true")
	if o.yes("associate_public_ip_address") {
		o.set("public_ip", o.public())
		o.set("public_dns", publicName(o.str("public_ip"), region))
	}
	o.set("instance_state", "running")
	o.set("tenancy", "default")
	o.set("instance_initiated_shutdown_behavior", "stop")
	if group := o.of("aws_vpc", o.of("aws_subnet", subnet, "vpc_id"), "default_security_group_id"); group != "" {
		o.set("vpc_security_group_ids", []string{group})
	}
	o.setBlock("metadata_options", map[string]any{
		"http_endpoint": "enabled", "http_protocol_ipv6": "disabled", "http_put_response_hop_limit": 2, "http_tokens": "required", "instance_metadata_tags": "disabled",
	})
	o.setBlock("root_block_device", map[string]any{
		"delete_on_termination": true, "device_name": "/dev/sda1", "volume_id": o.form("vol-{17}"), "volume_size": 10, "volume_type": "gp3", "iops": 3000, "throughput": 125,
	})
	o.setNested("root_block_device", "device_name", "/dev/sda1")
	o.setNested("root_block_device", "volume_size", 10)
	o.setNested("root_block_device", "volume_type", "gp3")
	o.setNested("metadata_options", "http_put_response_hop_limit", 1)
	o.setNested("metadata_options", "http_tokens", "optional")
	o.setNested("metadata_options", "instance_metadata_tags", "disabled")
}

func checkGroup(c *checked) {
	var bounds [3]int
	for i, name := range []string{"min_size", "desired_capacity", "max_size"} {
		n, err := strconv.Atoi(c.str(name))
		if err != nil && i == 1 {
			n = bounds[0]
		} else if err != nil {
			return
		}
		bounds[i] = n
	}
	if bounds[0] > bounds[1] || bounds[1] > bounds[2] {
		c.fail("aws_autoscaling_group: ValidationError: min_size %d, desired_capacity %d and max_size %d must be in order", bounds[0], bounds[1], bounds[2])
	}
	c.among("health_check_type", "EC2", "ELB")
}

func madeGroup(o *object) {
	if n, err := strconv.Atoi(o.str("min_size")); err == nil {
		o.set("desired_capacity", n)
	}
	o.set("default_cooldown", 300)
	o.set("health_check_type", "EC2")
	o.set("service_linked_role_arn", o.form("arn:aws:iam::{account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"))
	var zones []string
	for _, subnet := range texts(o.values["vpc_zone_identifier"]) {
		if z := o.of("aws_subnet", subnet, "availability_zone"); z != "" {
			zones = append(zones, z)
		}
	}
	o.set("availability_zones", zones)
	id := o.first("launch_template", "id")
	if id != "" && o.s.world.path != "" && o.of("aws_launch_template", id, "id") == "" {
		o.fail("aws_autoscaling_group: ValidationError: there is no launch template %s", id)
	}
	o.setNested("launch_template", "name", o.of("aws_launch_template", id, "name"))
	o.members()
}

// members are the instances that a group has at any time. They are in the world, and in nobody's state.
func (o *object) members() {
	n, _ := strconv.Atoi(o.str("desired_capacity"))
	subnets := texts(o.values["vpc_zone_identifier"])
	if len(subnets) == 0 {
		return
	}
	for i := range n {
		m := &object{s: o.s, typ: "aws_instance", values: map[string]cty.Value{"id": cty.StringVal(fmt.Sprintf("%s %d", o.str("name"), i))}}
		id := m.form("i-{17}")
		subnet := subnets[i%len(subnets)]
		m.values["id"] = cty.StringVal(id)
		o.beside("aws_instance", id, map[string]string{
			"subnet_id": subnet, "private_ip": m.address(subnet), "instance_state": "running", "group": o.str("name"),
		})
	}
}

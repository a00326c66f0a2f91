package simulate

import (
	"fmt"
	"regexp"
	"strings"
)

const elb = "elasticloadbalancing:{region}:{account}:"

// balancerName is what AWS accepts as the name of a load balancer or target group.
var balancerName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`)

var balancerKinds = map[string]kind{
	"aws_lb": {
		id: late, replace: "name name_prefix internal load_balancer_type customer_owned_ipv4_pool", late: "subnet_mapping",
		defaults: map[string]any{
			"load_balancer_type": "application", "client_keep_alive": 3600, "enable_deletion_protection": false, "enable_cross_zone_load_balancing": false,
			"enable_http2": true, "enable_tls_version_and_cipher_suite_headers": false, "enable_waf_fail_open": false, "enable_xff_client_port": false,
			"enable_zonal_shift": false, "idle_timeout": 60, "preserve_host_header": false, "desync_mitigation_mode": "defensive",
			"drop_invalid_header_fields": false, "xff_header_processing_mode": "append", "dns_record_client_routing_policy": "any_availability_zone",
			"access_logs.enabled": false, "connection_logs.enabled": false,
		},
		one: []string{"subnets subnet_mapping"}, atMost: []string{"name name_prefix"},
		made: madeBalancer,
		check: func(c *checked) {
			c.matches(balancerName, "name")
			if strings.HasPrefix(c.str("name"), "internal-") {
				c.fail("aws_lb: a name must not begin with internal-")
			}
			c.among("load_balancer_type", "application", "network", "gateway")
			c.among("ip_address_type", "ipv4", "dualstack", "dualstack-without-public-ipv4")
		},
	},
	"aws_lb_target_group": {
		id: late, replace: "name name_prefix port protocol protocol_version target_type vpc_id ip_address_type target_control_port",
		late: "health_check stickiness target_failover target_group_health target_health_state",
		defaults: map[string]any{
			"target_type": "instance", "deregistration_delay": "300", "lambda_multi_value_headers_enabled": false, "proxy_protocol_v2": false, "slow_start": 0,
			"health_check.enabled": true, "health_check.healthy_threshold": 3, "health_check.unhealthy_threshold": 3, "health_check.interval": 30,
			"health_check.port": "traffic-port", "health_check.protocol": "HTTP", "stickiness.enabled": true, "stickiness.cookie_duration": 86400,
		},
		atMost: []string{"name name_prefix"},
		made: func(o *object) {
			o.arn("targetgroup/{name}/{16}", "targetgroup/")
			o.alone("name")
			o.set("ip_address_type", "ipv4")
			o.set("load_balancing_algorithm_type", "round_robin")
			o.set("load_balancing_anomaly_mitigation", "off")
			o.set("load_balancing_cross_zone_enabled", "use_load_balancer_configuration")
			o.set("preserve_client_ip", fmt.Sprint(o.str("target_type") == "instance"))
			o.set("protocol_version", map[bool]string{true: "HTTP1"}[strings.HasPrefix(o.str("protocol"), "HTTP")])
			o.setBlock("health_check", map[string]any{"enabled": true, "healthy_threshold": 3, "unhealthy_threshold": 3, "interval": 30, "port": "traffic-port", "protocol": o.str("protocol")})
		},
		check: func(c *checked) {
			c.matches(balancerName, "name")
			c.among("target_type", "instance", "ip", "lambda", "alb")
			c.among("protocol", "HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC")
			if c.str("target_type") != "lambda" && (c.missing("port") || c.missing("protocol") || c.missing("vpc_id")) {
				c.fail("aws_lb_target_group: port, protocol and vpc_id must be given")
			}
		},
	},
	"aws_lb_listener": {
		id: late, replace: "load_balancer_arn", late: "mutual_authentication",
		made: func(o *object) {
			lb := o.str("load_balancer_arn")
			o.set("arn", strings.Replace(lb, ":loadbalancer/", ":listener/", 1)+"/"+o.form("{16}"))
			o.set("id", o.str("arn"))
			o.alone("load_balancer_arn", "port")
			protocol := "HTTP"
			if !strings.Contains(lb, "/app/") {
				protocol = "TCP"
			}
			o.set("protocol", protocol)
			if p := o.str("protocol"); p == "HTTPS" || p == "TLS" {
				o.set("ssl_policy", "ELBSecurityPolicy-2016-08")
			}
			if p := o.str("protocol"); (p == "HTTP" || p == "HTTPS") != strings.Contains(lb, "/app/") {
				o.fail("aws_lb_listener: ValidationError: protocol %s is not for %s", p, lb)
			}
			o.setNested("default_action", "order", 1)
		},
		check: func(c *checked) {
			if p := c.str("protocol"); (p == "HTTPS" || p == "TLS") == c.missing("certificate_arn") && p != "" && c.values["certificate_arn"].IsKnown() {
				c.fail("aws_lb_listener: certificate_arn goes with protocol HTTPS or TLS, and is %s's", p)
			}
			c.among("protocol", "HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC")
		},
	},
	"aws_lb_listener_rule": {
		id: late, replace: "listener_arn",
		made: func(o *object) {
			o.set("arn", strings.Replace(o.str("listener_arn"), ":listener/", ":listener-rule/", 1)+"/"+o.form("{16}"))
			o.set("id", o.str("arn"))
			o.alone("listener_arn", "priority")
		},
	},
	"aws_lb_target_group_attachment": {
		id: "{target_group_arn}-{26}", replace: "availability_zone port target_group_arn target_id",
		made: func(o *object) { o.alone("target_group_arn", "target_id", "port") },
	},
}

// arn makes up an ARN that ends with digits, the id that is the same, and the part of it by which metrics know it.
func (o *object) arn(pattern, suffixFrom string) {
	made := o.form("arn:aws:" + elb + pattern)
	o.set("arn", made)
	o.set("id", o.str("arn"))
	o.set("arn_suffix", made[strings.Index(made, suffixFrom):])
}

func madeBalancer(o *object) {
	short := map[string]string{"application": "app", "network": "net", "gateway": "gwy"}[o.str("load_balancer_type")]
	o.arn("loadbalancer/"+short+"/{name}/{16}", short+"/")
	o.alone("name")
	o.set("internal", false)
	o.set("ip_address_type", "ipv4")
	inside := ""
	if o.yes("internal") {
		inside = "internal-"
	}
	o.set("dns_name", fmt.Sprintf("%s%s-%d.%s.elb.amazonaws.com", inside, o.str("name"), 100000000+o.number("name", 900000000), o.form("{region}")))
	o.set("zone_id", "Z215JYRZR1TBD5")
	subnets := texts(o.values["subnets"])
	if mapped := o.values["subnet_mapping"]; known(mapped) {
		for _, m := range mapped.AsValueSlice() {
			subnets = append(subnets, (&object{values: m.AsValueMap()}).str("subnet_id"))
		}
	}
	zones := map[string]bool{}
	for _, subnet := range subnets {
		zone := o.of("aws_subnet", subnet, "availability_zone")
		if zones[zone] && zone != "" {
			o.fail("aws_lb: InvalidConfigurationRequest: two subnets of %s are in %s", o.str("name"), zone)
		}
		zones[zone] = true
		o.set("vpc_id", o.of("aws_subnet", subnet, "vpc_id"))
		if o.yes("internal") || o.s.world.path == "" {
			continue
		}
		if !o.online(subnet) {
			o.fail("aws_lb: InvalidSubnet: %s faces the internet, and the network of %s has no gateway", o.str("name"), subnet)
		}
	}
	if short == "app" && len(subnets) < 2 {
		o.fail("aws_lb: ValidationError: an application load balancer needs subnets in at least two zones")
	}
	o.set("subnets", subnets)
	o.set("security_groups", []string{})
}

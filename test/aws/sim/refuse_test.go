package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// head begins the small modules below.
const head = `
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "eu-central-1"
}
`

func module(t *testing.T, text string) *Module {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	write(t, dir, text)
	return New(t, dir)
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(head+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What the real schema does not have, validate finds.
func TestValidate(t *testing.T) {
	m := module(t, "")
	for text, want := range map[string]string{
		`resource "aws_subnet" "a" {
			vpc_id    = "vpc-1"
			cidr      = "10.0.0.0/24"
		}`: `An argument named "cidr" is not expected here`,
		`resource "aws_subnet" "a" {
			cidr_block = "10.0.0.0/24"
		}`: `The argument "vpc_id" is required`,
		`resource "aws_subnet" "a" {
			vpc_id                  = "vpc-1"
			map_public_ip_on_launch = "perhaps"
		}`: `a bool is required`,
		`resource "aws_instance" "a" {
			ami           = "ami-1"
			instance_type = "t3.small"
			public_ip     = "203.0.113.1"
		}`: `Can't configure a value for "public_ip"`,
		`resource "aws_instance" "a" {
			ami           = "ami-1"
			instance_type = "t3.small"
			root_block_device {
				size = 1
			}
		}`: `An argument named "size" is not expected here`,
		`resource "aws_instance" "a" {
			ami           = "ami-1"
			instance_type = "t3.small"
			root_block_device {}
			root_block_device {}
		}`: `No more than 1 "root_block_device" blocks are allowed`,
		`resource "aws_vpc_security_group_ingress_rule" "a" {
			security_group_id = "sg-1"
			ip_protocol       = "tcp"
			from_port         = 1
			to_port           = 1
		}`: `exactly one of cidr_ipv4, cidr_ipv6, prefix_list_id, referenced_security_group_id`,
		`resource "aws_vpc_security_group_ingress_rule" "a" {
			security_group_id = "sg-1"
			ip_protocol       = "-1"
			from_port         = 0
			to_port           = 0
			cidr_ipv4         = "10.0.0.0/8"
		}`: `ip_protocol -1 means all ports`,
		`resource "aws_lb" "a" {
			name    = "a-name-that-is-longer-than-thirty-two"
			subnets = ["subnet-1"]
		}`: `must match`,
		`resource "aws_iam_role" "a" {
			assume_role_policy = "{}"
		}`: `has no statement`,
		`resource "aws_launch_template" "a" {
			user_data = "#cloud-config"
		}`: `is not in base64`,
		`resource "aws_no_such_thing" "a" {}`: `does not support resource type`,
	} {
		write(t, m.Dir, text)
		if err := m.Validate(); err == nil || !strings.Contains(words(err), want) {
			t.Errorf("%s\nvalidate: %v\nwant %q", text, err, want)
		}
	}
}

// words joins the lines into which tofu breaks what it says.
func words(err error) string { return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "│", "")), " ") }

// two networks, of which the second is used for what must be apart.
const two = `
resource "aws_vpc" "a" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "a" {
  vpc_id            = aws_vpc.a.id
  cidr_block        = "10.0.1.0/24"
  availability_zone = "eu-central-1a"
}

resource "aws_subnet" "b" {
  vpc_id            = aws_vpc.a.id
  cidr_block        = "10.0.2.0/24"
  availability_zone = "eu-central-1b"
}
`

// What AWS would refuse only when it is asked, apply finds.
func TestApplyRefuses(t *testing.T) {
	m := module(t, two)
	if _, err := m.Apply(nil); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`resource "aws_subnet" "c" {
			vpc_id     = aws_vpc.a.id
			cidr_block = "10.0.2.128/25"
		}`: `InvalidSubnet.Conflict`,
		`resource "aws_subnet" "c" {
			vpc_id     = aws_vpc.a.id
			cidr_block = "10.1.0.0/24"
		}`: `InvalidSubnet.Range`,
		`resource "aws_security_group" "a" {
			name   = "a"
			vpc_id = "vpc-00000000000000000"
		}`: `there is no vpc "vpc-00000000000000000"`,
		`resource "aws_network_interface" "a" {
			subnet_id   = aws_subnet.a.id
			private_ips = ["10.0.2.10"]
		}`: `is not an address of`,
		`resource "aws_network_interface" "a" {
			subnet_id   = aws_subnet.a.id
			private_ips = ["10.0.1.10"]
		}
		resource "aws_network_interface" "b" {
			subnet_id   = aws_subnet.a.id
			private_ips = ["10.0.1.10"]
			depends_on  = [aws_network_interface.a]
		}`: `InvalidIPAddress.InUse`,
		`resource "aws_lb" "a" {
			name               = "a"
			load_balancer_type = "network"
			subnets            = [aws_subnet.a.id]
		}`: `has no gateway`,
		`resource "aws_instance" "a" {
			ami           = "ami-1"
			instance_type = "t3.small"
			subnet_id     = aws_subnet.a.id
		}
		resource "aws_ebs_volume" "a" {
			availability_zone = aws_subnet.b.availability_zone
			size              = 1
		}
		resource "aws_volume_attachment" "a" {
			device_name = "/dev/sdf"
			instance_id = aws_instance.a.id
			volume_id   = aws_ebs_volume.a.id
		}`: `InvalidVolume.ZoneMismatch`,
		`resource "aws_security_group" "a" {
			name   = "a"
			vpc_id = aws_vpc.a.id
		}
		resource "aws_vpc_security_group_egress_rule" "a" {
			security_group_id = aws_security_group.a.id
			ip_protocol       = "-1"
			cidr_ipv4         = "10.0.0.0/16"
		}
		resource "aws_vpc_security_group_egress_rule" "b" {
			security_group_id = aws_security_group.a.id
			ip_protocol       = "-1"
			cidr_ipv4         = "10.0.0.0/16"
			depends_on        = [aws_vpc_security_group_egress_rule.a]
		}`: `AlreadyExists`,
	} {
		write(t, m.Dir, two+text)
		if _, err := m.Apply(nil); err == nil || !strings.Contains(words(err), want) {
			t.Errorf("%s\napply: %v\nwant %q", text, err, want)
		}
	}
}

// Nothing is removed that somebody else still uses.
func TestDestroyRefuses(t *testing.T) {
	m := module(t, two)
	if _, err := m.Apply(nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Change(func(all map[string]map[string]Object) {
		for id := range all["aws_vpc"] {
			all["aws_security_group"] = map[string]Object{"sg-else": {"id": "sg-else", "vpc_id": id, "name": "somebody-elses"}}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Destroy(nil); err == nil || !strings.Contains(words(err), "DependencyViolation") {
		t.Errorf("destroying a network with somebody else's group in it: %v", err)
	}
}

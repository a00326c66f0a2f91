package simulate

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// of is an attribute of another object, or nothing.
func (o *object) of(typ, id, name string) string {
	found, err := o.s.world.get(typ, id, o.s.schema.Resources[typ].Type())
	if err != nil || found.IsNull() {
		return ""
	}
	return (&object{values: found.AsValueMap()}).str(name)
}

// others are the other objects of the same type, or of another.
func (o *object) others(typ string) []*object {
	all, err := o.s.world.all(typ, o.s.schema.Resources[typ].Type())
	if err != nil {
		o.fail("looking for other objects of type %s: %w", typ, err)
	}
	var out []*object
	for _, v := range all {
		other := &object{s: o.s, typ: typ, block: o.s.schema.Resources[typ], values: v.AsValueMap()}
		if typ != o.typ || other.str("id") != o.str("id") {
			out = append(out, other)
		}
	}
	return out
}

// alone refuses a second object with all of these the same.
func (o *object) alone(names ...string) {
	for _, other := range o.others(o.typ) {
		if !slices.ContainsFunc(names, func(n string) bool { return other.str(n) != o.str(n) }) {
			o.fail("%s: AlreadyExists: %s has the same %s", o.typ, other.str("id"), strings.Join(names, ", "))
			return
		}
	}
}

// beside puts an object into the world that comes with this one.
func (o *object) beside(typ, id string, fields map[string]string) {
	fields["id"] = id
	text, err := json.Marshal(fields)
	if err == nil {
		err = o.s.world.change(func(all objects) error {
			if all[beside+typ] == nil {
				all[beside+typ] = map[string]json.RawMessage{}
			}
			all[beside+typ][id] = text
			return nil
		})
	}
	if err != nil {
		o.fail("%s: %w", o.typ, err)
	}
}

func madeVPC(o *object) {
	if o.fresh {
		group, table, acl := o.form("sg-{17}"), o.form("rtb-{17}"), o.form("acl-{17}")
		o.set("default_security_group_id", group)
		o.set("main_route_table_id", table)
		o.set("default_route_table_id", table)
		o.set("default_network_acl_id", acl)
		for typ, id := range map[string]string{"aws_security_group": group, "aws_route_table": table, "aws_network_acl": acl} {
			o.beside(typ, id, map[string]string{"vpc_id": o.str("id"), "name": "default"})
		}
	}
	o.set("dhcp_options_id", "dopt-00000000000000001")
	o.set("enable_dns_hostnames", false)
	o.set("enable_network_address_usage_metrics", false)
}

func madeSubnet(o *object) {
	if o.str("availability_zone") == "" {
		o.set("availability_zone", o.form("{region}")+string(rune('a'+o.number("zone", 3))))
	}
	o.set("availability_zone_id", zoneID(o.str("availability_zone")))
	o.set("private_dns_hostname_type_on_launch", "ip-name")
	own, err := netip.ParsePrefix(o.str("cidr_block"))
	if err != nil || own != own.Masked() {
		o.fail("aws_subnet: InvalidSubnet.Range: %q is no range of addresses", o.str("cidr_block"))
		return
	}
	if network, err := netip.ParsePrefix(o.of("aws_vpc", o.str("vpc_id"), "cidr_block")); err == nil {
		if network.Bits() > own.Bits() || !network.Contains(own.Addr()) {
			o.fail("aws_subnet: InvalidSubnet.Range: %s is not within %s of %s", own, network, o.str("vpc_id"))
		}
	}
	for _, other := range o.others("aws_subnet") {
		if p, err := netip.ParsePrefix(other.str("cidr_block")); err == nil && p.Overlaps(own) && other.str("vpc_id") == o.str("vpc_id") {
			o.fail("aws_subnet: InvalidSubnet.Conflict: %s overlaps %s of %s", own, p, other.str("id"))
		}
	}
}

// address makes up an address of a subnet: the same for the same object.
func (o *object) address(subnet string) string {
	p, err := netip.ParsePrefix(o.of("aws_subnet", subnet, "cidr_block"))
	if err != nil {
		p = netip.MustParsePrefix("10.255.0.0/16") // nothing is known of the subnet
	}
	h := fnv.New32a()
	fmt.Fprint(h, o.typ, o.str("id"))
	size := uint32(1) << (32 - p.Bits())
	first := p.Masked().Addr().As4()
	return o.s.world.untaken(func(i int) string {
		// AWS keeps the first four and the last; the rest below ten is for machines that are given theirs.
		n := binary.BigEndian.Uint32(first[:]) + 10 + (h.Sum32()+uint32(i))%(size-12)
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))).String()
	})
}

// online tells whether the network of a subnet has a gateway to the internet.
func (o *object) online(subnet string) bool {
	network := o.of("aws_subnet", subnet, "vpc_id")
	return slices.ContainsFunc(o.others("aws_internet_gateway"), func(g *object) bool { return g.str("vpc_id") == network })
}

// public makes up an address outside, of a range for documentation.
func (o *object) public() string {
	return o.s.world.untaken(func(i int) string { return fmt.Sprintf("203.0.113.%d", 1+(o.number("public", 254)+i)%254) })
}

func publicName(address, region string) string {
	return fmt.Sprintf("ec2-%s.%s.compute.amazonaws.com", strings.ReplaceAll(address, ".", "-"), region)
}

func privateName(address, region string) string {
	return fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(address, ".", "-"), region)
}

func madeEIP(o *object) {
	o.set("domain", "vpc")
	o.set("allocation_id", o.str("id"))
	o.set("public_ip", o.public())
	o.set("public_dns", publicName(o.str("public_ip"), o.form("{region}")))
	o.set("network_border_group", o.form("{region}"))
	o.set("public_ipv4_pool", "amazon")
	if i := o.str("instance"); i != "" {
		o.set("private_ip", o.of("aws_instance", i, "private_ip"))
		o.set("network_interface", o.of("aws_instance", i, "primary_network_interface_id"))
		o.set("association_id", o.form("eipassoc-{17}"))
	}
	if i := o.str("network_interface"); i != "" {
		o.set("private_ip", o.of("aws_network_interface", i, "private_ip"))
		o.set("association_id", o.form("eipassoc-{17}"))
	}
}

func madeInterface(o *object) {
	subnet := o.str("subnet_id")
	ips := texts(o.values["private_ips"])
	if len(ips) == 0 {
		ips = []string{o.address(subnet)}
	}
	o.set("private_ip", ips[0])
	o.set("private_ips", ips)
	o.set("private_ip_list", ips)
	o.set("private_ips_count", len(ips)-1)
	o.set("interface_type", "interface")
	m := o.form("{6}")
	o.set("mac_address", fmt.Sprintf("02:00:00:%s:%s:%s", m[:2], m[2:4], m[4:]))
	network := o.of("aws_subnet", subnet, "vpc_id")
	if group := o.of("aws_vpc", network, "default_security_group_id"); group != "" {
		o.set("security_groups", []string{group})
	}
	p, err := netip.ParsePrefix(o.of("aws_subnet", subnet, "cidr_block"))
	for _, ip := range ips {
		a, bad := netip.ParseAddr(ip)
		if bad != nil || err == nil && !p.Contains(a) {
			o.fail("aws_network_interface: InvalidParameterValue: %s is not an address of %s, %s", ip, subnet, p)
		}
		if n := a.As4(); bad == nil && err == nil && p.Contains(a) && int(n[3])-int(p.Addr().As4()[3]) < 4 && p.Bits() >= 24 {
			o.fail("aws_network_interface: InvalidParameterValue: AWS keeps the first four addresses of a subnet: %s", ip)
		}
		for _, other := range o.others("aws_network_interface") {
			if other.str("subnet_id") == subnet && slices.Contains(texts(other.values["private_ips"]), ip) {
				o.fail("aws_network_interface: InvalidIPAddress.InUse: %s is %s's", ip, other.str("id"))
			}
		}
	}
}

// setNested makes up an attribute of the first block of a name.
func (o *object) setNested(block, name string, v any) {
	list := o.values[block]
	if !known(list) || list.LengthInt() == 0 {
		return
	}
	elements := list.AsValueSlice()
	fields := elements[0].AsValueMap()
	if fields[name].IsKnown() {
		return
	}
	fields[name] = value(v, fields[name].Type())
	elements[0] = cty.ObjectVal(fields)
	o.values[block] = collection(list.Type(), elements)
}

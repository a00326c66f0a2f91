package awsapi

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ec2 answers DescribeInstances, by ID or by filters, as EC2's query protocol has it.
func (c *Cloud) ec2(w http.ResponseWriter, body []byte) *problem {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return invalid("MalformedQueryString", "%v", err)
	}
	action := form.Get("Action")
	if p := c.may("ec2:" + action); p != nil {
		return p
	}
	switch action {
	case "DescribeInstances":
	case "DescribeNetworkInterfaces":
		writeXML(w, http.StatusOK, c.interfaces(form))
		return nil
	default:
		return invalid("InvalidAction", "EC2's %s is not among what this stand-in does", action)
	}
	wanted := list(form, "InstanceId.", "")
	for _, id := range wanted {
		if _, ok := c.Instances[id]; !ok {
			return invalid("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
	}
	var out describeInstances
	for _, id := range slices.Sorted(maps.Keys(c.Instances)) {
		i := c.Instances[id]
		if len(wanted) > 0 && !slices.Contains(wanted, id) || !passes(form, func(name string) string { return i.attribute(id, name) }) {
			continue
		}
		item := instanceItem{ID: id, Image: i.Image, State: i.State, VPC: i.VPC, Address: i.Address}
		if i.Profile != "" {
			item.Profile = &profileItem{ARN: i.Profile, ID: "AIPA0"}
		}
		for _, key := range slices.Sorted(maps.Keys(i.Tags)) {
			item.Tags = append(item.Tags, tagItem{key, i.Tags[key]})
		}
		out.Reservations = append(out.Reservations, reservation{ID: "r-" + id, Owner: c.Account, Instances: []instanceItem{item}})
	}
	writeXML(w, http.StatusOK, out)
	return nil
}

func (i Instance) attribute(id, name string) string {
	switch tag, isTag := strings.CutPrefix(name, "tag:"); {
	case isTag:
		return i.Tags[tag]
	case name == "instance-id":
		return id
	case name == "instance-state-name":
		return i.State
	case name == "vpc-id":
		return i.VPC
	}
	return ""
}

// interfaces are the network interfaces that all filters let through.
func (c *Cloud) interfaces(form url.Values) describeInterfaces {
	var out describeInterfaces
	for _, i := range c.Interfaces {
		if passes(form, func(name string) string {
			return map[string]string{"description": i.Description, "vpc-id": i.VPC}[name]
		}) {
			out.Interfaces = append(out.Interfaces, interfaceItem(i))
		}
	}
	return out
}

// passes says whether something is among what all filters let through, by its attributes. A value may end with an asterisk.
func passes(form url.Values, attribute func(name string) string) bool {
	for n := 1; form.Has("Filter." + itoa(n) + ".Name"); n++ {
		prefix := "Filter." + itoa(n) + "."
		name, values := form.Get(prefix+"Name"), list(form, prefix+"Value.", "")
		if !slices.ContainsFunc(values, func(want string) bool {
			begin, open := strings.CutSuffix(want, "*")
			return attribute(name) == want || open && strings.HasPrefix(attribute(name), begin)
		}) {
			return false
		}
	}
	return true
}

// list reads prefix1suffix, prefix2suffix, ….
func list(form url.Values, prefix, suffix string) []string {
	var out []string
	for n := 1; form.Has(prefix + itoa(n) + suffix); n++ {
		out = append(out, form.Get(prefix+itoa(n)+suffix))
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }

type describeInstances struct {
	XMLName      xml.Name      `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeInstancesResponse"`
	RequestID    string        `xml:"requestId"`
	Reservations []reservation `xml:"reservationSet>item"`
}

type describeInterfaces struct {
	XMLName    xml.Name        `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeNetworkInterfacesResponse"`
	RequestID  string          `xml:"requestId"`
	Interfaces []interfaceItem `xml:"networkInterfaceSet>item"`
}

type interfaceItem struct {
	Description string `xml:"description"`
	VPC         string `xml:"vpcId"`
	Zone        string `xml:"availabilityZone"`
	Address     string `xml:"privateIpAddress"`
}

type reservation struct {
	ID        string         `xml:"reservationId"`
	Owner     string         `xml:"ownerId"`
	Instances []instanceItem `xml:"instancesSet>item"`
}

type instanceItem struct {
	ID      string       `xml:"instanceId"`
	Image   string       `xml:"imageId"`
	State   string       `xml:"instanceState>name"`
	VPC     string       `xml:"vpcId"`
	Address string       `xml:"privateIpAddress"`
	Profile *profileItem `xml:"iamInstanceProfile"`
	Tags    []tagItem    `xml:"tagSet>item"`
}

type profileItem struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type tagItem struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// errorResponse is how EC2, and how the others, say that they did not.
func errorResponse(service string, p *problem) any {
	type detail struct {
		Code    string
		Message string
	}
	d := detail{p.code, p.message}
	if service == "ec2" {
		return struct {
			XMLName   xml.Name `xml:"Response"`
			Errors    []detail `xml:"Errors>Error"`
			RequestID string
		}{Errors: []detail{d}, RequestID: "0"}
	}
	return struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     detail
		RequestID string `xml:"RequestId"`
	}{Error: d, RequestID: "0"}
}

func writeXML(w http.ResponseWriter, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = w.Write(b) // whoever asked is gone
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = w.Write(b) // whoever asked is gone
}

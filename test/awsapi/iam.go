package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// iam describes instance profiles: those that some instance has, each with a role of its own name.
func (c *Cloud) iam(w http.ResponseWriter, body []byte) *problem {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return invalid("MalformedQueryString", "%v", err)
	}
	action, name := form.Get("Action"), form.Get("InstanceProfileName")
	if p := c.may("iam:" + action); p != nil {
		return p
	}
	if action != "GetInstanceProfile" {
		return invalid("InvalidAction", "IAM's %s is not among what this stand-in does", action)
	}
	for _, i := range c.Instances {
		if !strings.HasSuffix(i.Profile, ":instance-profile/"+name) {
			continue
		}
		writeXML(w, http.StatusOK, struct {
			XMLName xml.Name `xml:"https://iam.amazonaws.com/doc/2010-05-08/ GetInstanceProfileResponse"`
			ARN     string   `xml:"GetInstanceProfileResult>InstanceProfile>Arn"`
			Name    string   `xml:"GetInstanceProfileResult>InstanceProfile>InstanceProfileName"`
			Roles   []string `xml:"GetInstanceProfileResult>InstanceProfile>Roles>member>Arn"`
		}{ARN: i.Profile, Name: name, Roles: []string{strings.Replace(i.Profile, ":instance-profile/", ":role/", 1)}})
		return nil
	}
	return &problem{http.StatusNotFound, "NoSuchEntity", "no instance profile " + name}
}

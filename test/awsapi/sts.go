package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
)

// sts says whose key a request is signed with.
func (c *Cloud) sts(w http.ResponseWriter, body []byte) *problem {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return invalid("MalformedQueryString", "%v", err)
	}
	action := form.Get("Action")
	if p := c.may("sts:" + action); p != nil {
		return p
	}
	if action != "GetCallerIdentity" {
		return invalid("InvalidAction", "STS's %s is not among what this stand-in does", action)
	}
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Account string   `xml:"GetCallerIdentityResult>Account"`
		ARN     string   `xml:"GetCallerIdentityResult>Arn"`
		User    string   `xml:"GetCallerIdentityResult>UserId"`
	}{Account: c.Account, ARN: "arn:aws:sts::" + c.Account + ":assumed-role/vault/i-0", User: "AROA0:i-0"})
	return nil
}

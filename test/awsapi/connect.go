package awsapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// connect has an instance told of a public key for a minute, as EC2 Instance Connect does: OnKey hears what its metadata service
// has to say from then on.
func (c *Cloud) connect(w http.ResponseWriter, target string, body []byte) *problem {
	var in struct {
		Instance string `json:"InstanceId"`
		User     string `json:"InstanceOSUser"`
		Key      string `json:"SSHPublicKey"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return invalid("SerializationException", "%v", err)
	}
	action := strings.TrimPrefix(target, "AWSEC2InstanceConnectService.")
	if p := c.may("ec2-instance-connect:" + action); p != nil {
		return p
	}
	if action != "SendSSHPublicKey" {
		return invalid("InvalidAction", "EC2 Instance Connect's %s is not among what this stand-in does", action)
	}
	if _, ok := c.Instances[in.Instance]; !ok {
		return invalid("EC2InstanceNotFoundException", "no instance %s", in.Instance)
	}
	if c.OnKey != nil {
		c.OnKey(in.Instance, in.User, ActiveKey(in.Instance, in.Key, time.Now().Add(time.Minute)))
	}
	writeJSON(w, http.StatusOK, map[string]any{"RequestId": "0", "Success": true})
	return nil
}

// ActiveKey is what the metadata service says of a key.
func ActiveKey(instance, key string, until time.Time) string {
	return fmt.Sprintf("#Timestamp=%d\n#Instance=%s\n#Caller=arn:aws:iam::0:user/operator\n#Request=0\n%s\nc2lnbmF0dXJl\n\n", until.Unix(), instance, strings.TrimSpace(key))
}

package aws

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Outputs is what terraform/aws says of what it has made. Of nothing, they are empty.
type Outputs struct {
	VaultAddresses []string              `json:"vault_addresses"`
	BastionAddress netip.Addr            `json:"bastion_address"`
	APIEndpoint    string                `json:"api_endpoint"`
	VPC            string                `json:"vpc_id"`
	NATAddresses   map[string]netip.Addr `json:"nat_addresses"` // by zone
	Buckets        map[string]string     `json:"buckets"`       // state, backup, bundle
	Machines       map[string]Made       `json:"machines"`
	Groups         map[string]string     `json:"groups"` // the autoscaling group of each pool
	// ServiceAddresses are the names of the public load balancers.
	ServiceAddresses map[string]string `json:"service_addresses"`

	balancer netip.Addr // of the API's load balancer, once EC2 has said it
}

// Made is a machine with a name, as AWS knows it.
type Made struct {
	InstanceID string        `json:"instance_id"`
	PrivateIP  netip.Addr    `json:"private_ip"`
	Role       v1alpha1.Role `json:"role"`
}

// decodeOutputs reads what is there: an interrupted apply leaves some of them out.
func decodeOutputs(values map[string]json.RawMessage) (*Outputs, error) {
	b, err := json.Marshal(values)
	o := new(Outputs)
	if err == nil {
		err = json.Unmarshal(b, o)
	}
	if err != nil {
		return nil, fmt.Errorf("read the outputs of the state, which are not those of these modules: %w", err)
	}
	return o, nil
}

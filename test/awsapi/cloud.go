// Package awsapi stands in for AWS in tests: one HTTP server that answers the few calls that are made of EC2, STS, IAM and
// KMS, and only those that are signed by a key that it knows (Signature Version 4). Which service is meant, the signature
// says; so one address is the endpoint of all.
package awsapi

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Cloud is a region of an account, and what is in it. Its fields may be changed while it is served, by Change.
type Cloud struct {
	Account, Region string
	// Keys are access keys and their secrets.
	Keys map[string]string
	// Instances are those of EC2, by their IDs.
	Instances map[string]Instance
	// Interfaces are network interfaces of what is no instance.
	Interfaces []Interface
	// Buckets are those of S3.
	Buckets map[string]*Bucket
	// Aliases are names of keys of KMS, by the key's id, and ManagedKeys those keys. Without Aliases one key answers to any name.
	Aliases     map[string]string
	ManagedKeys map[string]*Managed
	// Refused are actions, as ec2:DescribeInstances, that nobody is allowed.
	Refused map[string]bool
	// OnKey hears of each key that an instance is told of.
	OnKey func(instance, user, says string)

	url    string
	mu     sync.Mutex
	master [32]byte // of KMS
	asked  map[string]int
}

// Instance is an instance as EC2 describes it.
type Instance struct {
	State, VPC, Image, Address string
	// Profile is the ARN of its instance profile.
	Profile string
	Tags    map[string]string
}

// Interface is a network interface as EC2 describes it.
type Interface struct{ Description, VPC, Zone, Address string }

// Serve answers until stop is called. Whoever asks must know the key.
func Serve(account, region string) (c *Cloud, stop func()) {
	c = &Cloud{Account: account, Region: region, Instances: map[string]Instance{}, Refused: map[string]bool{}, asked: map[string]int{},
		Keys: map[string]string{"AKIA" + rand.Text()[:16]: rand.Text()}}
	_, _ = rand.Read(c.master[:]) // never fails (crypto/rand)
	s := httptest.NewServer(c)
	c.url = s.URL
	return c, s.Close
}

// URL is the endpoint of every service.
func (c *Cloud) URL() string { return c.url }

// Environment is how a process of AWS's libraries gets a key.
func (c *Cloud) Environment() []string {
	for id, secret := range c.Keys {
		return []string{"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_REGION=" + c.Region, "AWS_EC2_METADATA_DISABLED=true"}
	}
	return nil
}

// Change changes what there is.
func (c *Cloud) Change(f func(*Cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// Asked is how often an action was asked for, as ec2:DescribeInstances.
func (c *Cloud) Asked(action string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[action]
}

// problem is what AWS says when it does not do what it was asked.
type problem struct {
	status        int
	code, message string
}

func (p *problem) Error() string { return p.code + ": " + p.message }

func refusal(code, format string, args ...any) *problem {
	return &problem{http.StatusForbidden, code, fmt.Sprintf(format, args...)}
}

func invalid(code, format string, args ...any) *problem {
	return &problem{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	service, body, err := c.authenticate(r)
	if err == nil {
		switch service {
		case "ec2":
			err = c.ec2(w, body)
		case "sts":
			err = c.sts(w, body)
		case "iam":
			err = c.iam(w, body)
		case "kms":
			err = c.kms(w, r.Header.Get("X-Amz-Target"), body)
		case "s3":
			err = c.s3(w, r, body)
		case "ec2-instance-connect":
			err = c.connect(w, r.Header.Get("X-Amz-Target"), body)
		default:
			err = invalid("InvalidAction", "%s is no service of this stand-in", service)
		}
	}
	if err == nil {
		return
	}
	if service == "kms" || service == "ec2-instance-connect" {
		writeJSON(w, err.status, map[string]string{"__type": err.code, "message": err.message})
		return
	}
	if service == "s3" {
		writeXML(w, err.status, s3Error(err))
		return
	}
	writeXML(w, err.status, errorResponse(service, err))
}

// may says whether an action is allowed, and counts it.
func (c *Cloud) may(action string) *problem {
	c.asked[action]++
	if c.Refused[action] {
		return refusal("AccessDeniedException", "not authorized to perform: %s", action)
	}
	return nil
}

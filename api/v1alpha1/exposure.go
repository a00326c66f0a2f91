package v1alpha1

// Exposure is what the internet may reach: the bastion, and the services that are named here. Without either of them
// nothing has a public address.
type Exposure struct {
	// TrustedCIDRs are the only addresses of the internet that reach any of it. They are IPv4: nothing public has an IPv6 address. There is no default: whoever has a
	// public door says who may knock.
	TrustedCIDRs []string `json:"trustedCIDRs,omitempty"`
	// AcknowledgeEverybody has to be true where trustedCIDRs holds 0.0.0.0/0, which is everybody there is.
	AcknowledgeEverybody bool `json:"acknowledgeEverybody,omitempty"`
	// Services are reached through the public load balancer, such as Jenkins or Foreman.
	Services []PublicService `json:"services,omitempty"`
}

// PublicService is one port of the public load balancer.
type PublicService struct {
	// Name is a DNS label, unique among the services.
	Name string `json:"name"`
	// Port is the public one. Services may share one, if each says its hostnames. 22 is the bastion's.
	Port int `json:"port"`
	// Hostnames are the names that a client asks for (TLS's SNI), and reaches this service by; any other name is refused. They
	// are unique on a port. Left out: whatever name.
	Hostnames []string `json:"hostnames,omitempty"`
	// Pool has the machines that serve it; of role hub or worker.
	Pool string `json:"pool"`
	// TargetPort is where they do, the same as port by default.
	TargetPort int `json:"targetPort,omitempty"`
	// Plaintext lets connections pass that do not begin with TLS. They are refused by default.
	Plaintext bool `json:"plaintext,omitempty"`
	// CertificateARN is that of the load balancer's certificate, in ACM; on aws. With it the load balancer ends TLS, and goes on to the
	// machines with theirs, or without where plaintext is true. Left out there, plaintext has to be true: connections pass as they are.
	CertificateARN string `json:"certificateARN,omitempty"`
}

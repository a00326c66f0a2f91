package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"ashlar.dev/ashlar/internal/identity"
	"ashlar.dev/ashlar/internal/vault"
)

// MetadataService is where the instance asks about itself. It may be elsewhere where there is a stand-in for it; AWS's own libraries know the variable.
func MetadataService() string {
	if s := os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"); s != "" {
		return s
	}
	return identity.Metadata
}

// attest logs in by what somebody whom Vault trusts says of this machine. What it is called is for Vault to say: by another
// name it would ask for what it cannot get, and say why in vain.
func (s *session) attest(ctx context.Context, client *vault.Client, a Attestation) error {
	if a.Method != identity.AWS {
		return fmt.Errorf("prove which machine this is: by %q, which this agent does not know; it knows %q", a.Method, identity.AWS)
	}
	document, err := identity.Document(ctx, MetadataService())
	if err != nil {
		return err
	}
	machine, login, name, err := client.LoginInstance(ctx, a.Mount, a.Role, document)
	if err != nil {
		return err
	}
	// An instance logs in once: the token is kept before anything else can go wrong.
	s.client, s.token = machine, token{Token: login.Token, TTL: login.TTL, Since: time.Now()}
	if err := s.token.save(); err != nil {
		return err
	}
	s.log.Info("logged in as an instance", "machine", name, "ttl", login.TTL)
	return sameName(name, s.boot.Desired.Self)
}

// sameName compares what Vault calls the machine with what the machine calls itself.
func sameName(vaults, own string) error {
	if vaults != own {
		return fmt.Errorf("vault calls this machine %s, and it calls itself %s: its user data is another machine's; terminate the instance, and run `ashlar up`",
			vaults, own)
	}
	return nil
}

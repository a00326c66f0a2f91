package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// ErrSecondLogin says that an instance has logged in before, which each does once.
var ErrSecondLogin = errors.New("this instance has logged in before, and each may do so once: whoever did has its token. " +
	"If it was this machine and it lost its token, `ashlar up` lets one that the file names log in once more; of a group's member terminate the " +
	"instance: another takes its place. If it was not, somebody else on it was faster")

// ErrNotThatInstance says that Vault does not believe an instance to be what it says.
var ErrNotThatInstance = errors.New("vault does not take this instance for one of the cluster's")

// LoginInstance shows an instance's signed identity document (PKCS #7) to the aws auth method at mount (below auth/), and
// returns a client that acts as the machine, and what the machine is called: that is for Vault to say.
func (c *Client) LoginInstance(ctx context.Context, mount, role, document string) (*Client, Login, string, error) {
	body := map[string]any{"role": role, "pkcs7": strings.Join(strings.Fields(document), "")}
	r, err := c.WithToken("").do(ctx, http.MethodPut, "auth/"+mount+"/login", body)
	if err != nil {
		return nil, Login{}, "", fmt.Errorf("log in as an instance of %s: %w", role, explainInstance(err))
	}
	login, err := r.login()
	if err != nil {
		return nil, Login{}, "", err
	}
	name, err := c.attestedName(mount, r.Auth.Metadata)
	return c.WithToken(login.Token), login, name, err
}

// attestedName is what Vault calls who logged in: a machine that the file names by its role, a member of a group by what AWS signed.
func (c *Client) attestedName(mount string, metadata map[string]string) (string, error) {
	name := metadata["role"]
	if mount == AWSPoolPath(c.cluster) {
		name = ""
		if metadata["instance_id"] != "" && metadata["region"] != "" {
			name = unit.MemberName(metadata["instance_id"], metadata["region"])
		}
	}
	if name == "" {
		return "", errors.New("vault's answer does not say which machine this is: run `ashlar up`")
	}
	return name, nil
}

func explainInstance(err error) error {
	var refused *Error
	if !errors.As(err, &refused) || refused.Status >= http.StatusInternalServerError && !refused.says("signature") {
		return err
	}
	because := func(why string) error { return fmt.Errorf("%w: %s (%w)", ErrNotThatInstance, why, err) }
	switch {
	case refused.says("reauthentication is disabled"):
		return fmt.Errorf("%w (%w)", ErrSecondLogin, err)
	case refused.says("not in 'running' state"):
		return because("AWS says that it does not run (yet)")
	case refused.says("InvalidInstanceID"):
		return because("AWS knows of no such instance")
	case refused.says("account ID"):
		return because("it is of another account")
	case refused.says("VPC ID"):
		return because("it is in another VPC")
	case refused.says("instance profile"):
		return because("its instance profile is another's")
	case refused.says("signature"), refused.says("PKCS#7"):
		return because("its identity document is not signed by AWS in this region")
	case errors.Is(err, ErrDenied):
		return because("it asks from an address that is not this machine's, or the machine was revoked")
	}
	return err
}

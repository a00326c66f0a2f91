package phase

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/controller"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// accessTimeout is how long API servers may take to read a changed policy, and the baseline controller to place what
// namespaces must have. API servers look at the files once a minute where the kernel does not tell them.
const accessTimeout = 90 * time.Second

// observeAccess asks each API server by which policy it decides, and looks at what namespaces must have.
func observeAccess(ctx context.Context, c *Cluster) ([]Drift, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	if err := apiAnswers(ctx, config); err != nil {
		return []Drift{{Object: "kube-apiserver", Cause: "the API does not answer", Action: "wait for it"}}, nil
	}
	if may, err := mayAdminister(ctx, config); err != nil {
		return nil, err
	} else if !may {
		return []Drift{{Object: "access", Cause: "administrators may not see it", Action: "look again"}}, nil
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	revoked, err := c.revoked(ctx)
	if err != nil {
		return nil, err
	}
	drift := make([][]Drift, len(machines)+1)
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range machines {
		if _, out := revoked.Machine(m.Name); out || m.Role != v1alpha1.RoleControlPlane || m.State != provider.Running {
			continue
		}
		g.Go(func() (err error) {
			d := c.desiredFor(m.Name, machines, trust)
			d.Revoked = revoked.For(m.Role, m.Name)
			drift[i], err = c.stalePolicy(ctx, config, m, d)
			return err
		})
	}
	access := unit.Desired{Authorization: c.Spec.Spec.Authorization}.Access()
	policies, err := c.policies(machines)
	if err != nil {
		return nil, err
	}
	g.Go(func() error {
		changes, err := controller.Observe(ctx, config, access, policies, c.Spec.Spec.Isolation)
		for _, change := range changes {
			drift[len(machines)] = append(drift[len(machines)], Drift{Object: change.Name(), Cause: change.Why, Action: "wait for the baseline controller to " + string(change.Verb) + " it"})
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []Drift
	for _, d := range drift {
		all = append(all, d...)
	}
	return all, nil
}

// policies are the files that API servers take over by themselves, and the part of the metric's name that says which
// content they have taken over.
var policies = map[string]string{
	unit.AuthenticationFile: "authentication",
	unit.AuthorizationFile:  "authorization",
}

var configInfo = regexp.MustCompile(`^apiserver_(authentication|authorization)_config_controller_last_config_info\{.*hash="([^"]+)"`)

// stalePolicy says which of its policies an API server has not taken over.
func (c *Cluster) stalePolicy(ctx context.Context, config *rest.Config, m provider.Machine, d unit.Desired) ([]Drift, error) {
	// Through the load balancer one would not know which server answers.
	config = rest.CopyConfig(config)
	config.Host = fmt.Sprintf("https://%s:%d", m.Address, unit.PortAPIServer)
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.Provider.Dial(ctx, m.Name, network, address)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return []Drift{{Object: m.Name + "/kube-apiserver", Cause: "it does not answer", Action: "wait for it"}}, nil
	}
	defer resp.Body.Close()
	have, err := policyHashes(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of the API server on %s: %w", m.Name, err)
	}
	var drift []Drift
	for _, u := range unit.For(d) {
		for _, f := range u.Files {
			name, is := policies[f.Path]
			if is && have[name] != fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(f.Content))) {
				drift = append(drift, Drift{Object: m.Name + "/" + u.Name, Cause: "decides by another " + f.Path, Action: "wait for it to read the file"})
			}
		}
	}
	return drift, nil
}

// policyHashes finds in an API server's metrics what it decides by.
func policyHashes(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && len(out) < len(policies) {
		if m := configInfo.FindStringSubmatch(lines.Text()); m != nil {
			out[m[1]] = m[2]
		}
	}
	return out, lines.Err()
}

// applyAccess waits: the machines have been told already, and know what to do.
func applyAccess(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	began := time.Now()
	var waiting []string
	for {
		drift, err := observeAccess(ctx, c)
		if err == nil && len(drift) == 0 {
			progress.Detail("%s", c.Spec.Spec.Authorization.Mode)
			return nil
		}
		if ctx.Err() == nil || waiting == nil { // or else what was waited for is what was learnt before the time was over
			waiting = nil
			for _, d := range drift {
				waiting = append(waiting, d.Object+": "+d.Cause)
			}
			if err != nil {
				waiting = append(waiting, err.Error())
			}
		}
		progress.Detail("%s", waiting[0])
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %s; see `ashlar logs`", time.Since(began).Round(time.Second), strings.Join(waiting, "; "))
		case <-time.After(look):
		}
	}
}

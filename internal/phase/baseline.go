package phase

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// apiTimeout is how long a control plane may take to answer after its machines were told what to be.
const apiTimeout = 2 * time.Minute

func (c *Cluster) baselineObjects(ctx context.Context) ([]*unstructured.Unstructured, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	d := c.desiredFor("", machines, trust{})
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	users, _ := userNamespaces(all)
	coredns, ok := c.Bundle.Image("coredns")
	if !ok {
		return nil, fmt.Errorf("the bundle has no image of CoreDNS")
	}
	return baseline.Objects(baseline.Input{
		DNSServiceIP:  d.DNSServiceIP(),
		ClusterDomain: d.ClusterDomain,
		APIServer:     d.WithRole(v1alpha1.RoleLB)[0].Address,
		CoreDNSImage:  coredns.Reference,
		Workers:       len(d.WithRole(v1alpha1.RoleWorker)),
		Members:       len(c.groups()) > 0,

		Isolation:       c.Spec.Spec.Isolation,
		ServiceAccounts: c.Spec.Spec.Authorization.ServiceAccounts,
		UserNamespaces:  users,
	})
}

// apiAnswers asks the load balancer's /readyz.
func apiAnswers(ctx context.Context, config *rest.Config) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+unit.APIReadyPath, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %s", resp.Status)
	}
	return nil
}

func observeBaseline(ctx context.Context, c *Cluster) ([]Drift, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	if err := apiAnswers(ctx, config); err != nil {
		return []Drift{{Object: "kube-apiserver", Cause: "the API does not answer", Action: "wait for it, then create what is missing"}}, nil
	}
	may, err := mayAdminister(ctx, config)
	if err != nil {
		return nil, err
	}
	if !may {
		return []Drift{{Object: "ClusterRoleBinding ashlar:admins", Cause: "administrators are bound to no role", Action: "create it"}}, nil
	}
	objects, err := c.baselineObjects(ctx)
	if err != nil {
		return nil, err
	}
	found, err := baseline.Observe(ctx, config, objects)
	var drift []Drift
	for _, f := range found {
		drift = append(drift, Drift{Object: f.Object, Cause: f.Cause, Action: f.Action})
	}
	return drift, err
}

func applyBaseline(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	config, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	if err := waitAPI(ctx, c, config, progress); err != nil {
		return err
	}
	if err := awaitWorkers(ctx, c); err != nil {
		return err
	}
	objects, err := c.baselineObjects(ctx)
	if err != nil {
		return err
	}
	may, err := mayAdminister(ctx, config)
	if err != nil {
		return err
	}
	if !may {
		// Nobody in RBAC may make the first bindings: that takes a certificate of minutes that is never written down.
		cred, err := c.bootstrapCredential(ctx)
		if err != nil {
			return err
		}
		config = c.RESTConfig(cred)
	}
	progress.Detail("%d objects", len(objects))
	_, err = baseline.Apply(ctx, config, objects)
	return err
}

func waitAPI(ctx context.Context, c *Cluster, config *rest.Config, progress *ui.Progress) error {
	progress.Detail("waiting for the API")
	ctx, cancel := context.WithTimeout(ctx, c.patience(apiTimeout))
	defer cancel()
	silent := silentSince(time.Now())
	for {
		err := apiAnswers(ctx, config)
		if err == nil {
			return nil
		}
		if err := silent.look(ctx, c); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API did not come up: %w; see `ashlar status` and `ashlar logs`", err)
		case <-time.After(look):
		}
	}
}

package phase

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/baseline"
	"ashlar.dev/ashlar/internal/ui"
)

const (
	// apiTimeout is how long a control plane may take to answer after its machines were told what to be.
	apiTimeout = 2 * time.Minute
	// nodesTimeout is how long workers and DNS may take after that.
	nodesTimeout = 3 * time.Minute
	// glance is how long something that is as it should be takes to say so.
	glance = time.Second
)

func (c *Cluster) baselineObjects(ctx context.Context) ([]*unstructured.Unstructured, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	d := c.desiredFor("", machines, nil)
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/readyz", nil)
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
	if err := waitAPI(ctx, config, progress); err != nil {
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

func waitAPI(ctx context.Context, config *rest.Config, progress *ui.Progress) error {
	progress.Detail("waiting for the API")
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	for {
		err := apiAnswers(ctx, config)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API did not come up: %w; see `ashlar status` and `ashlar logs`", err)
		case <-time.After(look):
		}
	}
}

func observeNodes(ctx context.Context, c *Cluster) ([]Drift, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := apiAnswers(ctx, config); err != nil {
		return []Drift{{Object: "nodes", Cause: "the API does not answer", Action: "wait for it"}}, nil
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return []Drift{{Object: "nodes", Cause: "administrators may not see them", Action: "look again"}}, nil
	}
	if err != nil {
		return nil, err
	}
	var drift []Drift
	for _, name := range notReady(c.Spec.Machines(), list.Items) {
		drift = append(drift, Drift{Object: name, Cause: "the node is not Ready", Action: "wait for it"})
	}
	if len(drift) > 0 {
		return drift, nil // and DNS has nowhere to run
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	if err := baseline.Ready(ctx, config); err != nil {
		drift = append(drift, Drift{Object: "coredns", Cause: err.Error(), Action: "wait for it"})
	}
	return drift, nil
}

func applyNodes(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	config, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	progress.Detail("waiting for nodes")
	if err := waitNodes(ctx, config, c.Spec.Machines()); err != nil {
		return err
	}
	progress.Detail("waiting for DNS")
	return baseline.Ready(ctx, config)
}

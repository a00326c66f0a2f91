package phase

import (
	"context"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// OwnUsers is what people are told of a worker whose kernel cannot tell pods' users from its own; why follows.
const OwnUsers = "the users of pods are the machine's own, on every worker: "

// reportWithin is how long workers may take to say what their kernels can, once the API answers. They do as soon as they have
// logged in to Vault.
const reportWithin = 20 * time.Second

// userNamespaces says whether the kernels of all workers, as far as they have said so, can give pods users of their own;
// and whether any has yet to say so. One that cannot would leave pods that it is given waiting for ever.
func userNamespaces(all []enrolled) (able, waiting bool) {
	able = true
	said := false
	for _, e := range all {
		if e.machine.Role != v1alpha1.RoleWorker || e.out {
			continue
		}
		switch u := e.status.UserNamespaces; {
		case u != nil:
			said = true
			able = able && u.Able
		case e.machine.State == provider.Running:
			waiting = true
		}
	}
	return able && said, waiting
}

// awaitWorkers waits until workers have said what their kernels can. One that says nothing is no reason to stop: what it
// says later is drift.
func awaitWorkers(ctx context.Context, c *Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	for {
		all, err := c.enrolment(ctx)
		if _, waiting := userNamespaces(all); err == nil && !waiting || ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

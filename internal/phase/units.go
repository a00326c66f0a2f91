package phase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

const (
	// unitsTimeout is how long all machines may take until everything on them runs.
	unitsTimeout = 3 * time.Minute
	look         = 100 * time.Millisecond
)

// observeUnits compares what machines report, and what is on their disks, with what their units should be.
func observeUnits(ctx context.Context, c *Cluster) ([]Drift, error) {
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	found := make([][]Drift, len(all))
	g, ctx := errgroup.WithContext(ctx)
	for i, e := range all {
		g.Go(func() error {
			var err error
			found[i], err = c.editedFiles(ctx, e)
			found[i] = append(found[i], unready(e, time.Now())...)
			return err
		})
	}
	err = g.Wait()
	return slices.Concat(found...), err
}

// unready says why a machine is not as it should be, by its own report.
func unready(e enrolled, now time.Time) []Drift {
	name := e.machine.Name
	if e.out {
		return nil
	}
	if e.machine.State != provider.Running {
		return []Drift{{Object: name, Cause: "the machine is powered off", Action: "wait for its units after power on"}}
	}
	if silence := agent.Silence(len(e.want.Machines), e.want.LeafTTL); now.Sub(e.status.Seen) > silence {
		return []Drift{{Object: name, Cause: fmt.Sprintf("its agent has not reported for %s", silence), Action: "wait for it"}}
	}
	if e.status.Desired < e.version || e.status.Revision != e.boot.Revision {
		return []Drift{{Object: name, Cause: "it has not taken over its newest desired state", Action: "wait for it"}}
	}
	units := unit.For(e.want)
	if len(e.status.Units) == 0 && len(units) > 0 {
		return []Drift{{Object: name, Cause: "no unit runs", Action: "wait for its units"}}
	}
	want := map[string]string{}
	for _, u := range units {
		want[u.Name] = u.Digest()
	}
	var drift []Drift
	reported := map[string]bool{}
	for _, u := range e.status.Units {
		object := name + "/" + u.Name
		reported[u.Name] = true
		switch {
		case !u.State.Settled():
			drift = append(drift, Drift{Object: object, Cause: strings.TrimSpace(fmt.Sprintf("is %s %s", u.State, u.Reason)), Action: "wait for it"})
		case want[u.Name] != u.Digest:
			drift = append(drift, Drift{Object: object, Cause: "runs by another definition than this version of ashlar has", Action: "restart it"})
		}
	}
	for _, s := range e.status.Certificates {
		if signs := e.want.Issuers[s.CA]; signs != "" && s.Issuer != signs {
			drift = append(drift, Drift{Object: name, Cause: fmt.Sprintf("its certificate %s/%s is not by the key that signs now", s.CA, s.Name), Action: "wait for it"})
		}
	}
	if k := e.status.HostKey; k != nil && e.want.SSH != nil && k.CA != signsSSH(e.want.SSH.HostCA) {
		drift = append(drift, Drift{Object: name, Cause: "its SSH host key is not signed by the CA that signs now", Action: "wait for it"})
	}
	for _, unit := range slices.Sorted(maps.Keys(want)) {
		if !reported[unit] {
			drift = append(drift, Drift{Object: name + "/" + unit, Cause: "does not run", Action: "wait for it"})
		}
	}
	return drift
}

// editedFiles names the files of units that somebody changed on the machine.
func (c *Cluster) editedFiles(ctx context.Context, e enrolled) ([]Drift, error) {
	var drift []Drift
	if e.out || e.attested { // an attested machine's agent writes them whenever it starts a unit, and nobody reads its disk
		return nil, nil
	}
	seen := map[string]bool{}
	for _, u := range unit.For(e.want) {
		for _, f := range u.Files {
			if seen[f.Path] || strings.HasPrefix(f.Path, "/run/") || e.machine.State == provider.Absent {
				continue
			}
			seen[f.Path] = true
			then := " and restart " + u.Name
			if f.Live {
				then = ""
			}
			have, err := c.Provider.Read(ctx, e.machine.Name, f.Path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				drift = append(drift, Drift{Object: e.machine.Name + "/" + u.Name, Cause: f.Path + " is missing", Action: "write it" + then})
			case err != nil:
				return nil, err
			case string(have) != f.Content:
				drift = append(drift, Drift{Object: e.machine.Name + "/" + u.Name, Cause: f.Path + " was edited", Action: "write it again" + then})
			}
		}
	}
	return drift, nil
}

// applyUnits has machines repair what was edited, and waits until everything runs.
func applyUnits(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	if err := c.repairEdited(ctx); err != nil {
		return err
	}
	all, err := c.await(ctx, c.patience(unitsTimeout), "", progress, unready)
	if err != nil {
		return err
	}
	progress.Detail("%s", census(all))
	return nil
}

// census counts the machines, and those that are not waited for.
func census(all []enrolled) string {
	out := 0
	for _, e := range all {
		if e.out {
			out++
		}
	}
	if out > 0 {
		return fmt.Sprintf("%d machines, and %d revoked that are not waited for", len(all)-out, out)
	}
	return fmt.Sprintf("%d machines", len(all))
}

func (c *Cluster) repairEdited(ctx context.Context) error {
	all, err := c.enrolment(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		edited, err := c.editedFiles(ctx, e)
		if err != nil {
			return err
		}
		// What is missing on a machine that is only coming up, its agent is about to write.
		if len(edited) == 0 || len(e.status.Units) == 0 || e.status.Revision != e.boot.Revision {
			continue
		}
		if err := c.introduce(ctx, e, false); err != nil {
			return err
		}
	}
	return nil
}

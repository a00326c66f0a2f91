package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// enrolled is what is known of one machine's way into the cluster.
type enrolled struct {
	machine provider.Machine
	want    unit.Desired
	have    unit.Desired
	version int // of the desired document; 0 if there is none
	boot    agent.Boot
	status  agent.Status
	token   bool // it keeps one on its disk
	out     bool // revoked: it stays as it is, and is not waited for
	// attested: it proves by itself which machine it is, so that nothing is left on its disk.
	attested bool
}

// silent says that a machine has no token, or has not been heard of for so long that it may have expired.
func (e enrolled) silent(now time.Time, leafTTL time.Duration) bool {
	return !e.token && !e.attested || e.status.Seen.IsZero() || now.Sub(e.status.Seen) > leafTTL/2
}

// enrolment reads all machines' documents, side by side.
func (c *Cluster) enrolment(ctx context.Context) ([]enrolled, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return nil, err
	}
	_, attested := c.cloud()
	agents := c.agents(machines)
	all := make([]enrolled, len(agents))
	parent := ctx
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range agents {
		g.Go(func() error {
			e := enrolled{machine: m, want: c.desiredFor(m.Name, machines, trust), attested: attested}
			var err error
			if e.version, err = v.ReadDocument(ctx, m.Document(), "desired", &e.have); err != nil {
				return err
			}
			if e.version > 0 {
				e.have = asMember(e.have, m)
			}
			if _, err = v.ReadDocument(ctx, m.Name, "status", &e.status); err != nil {
				return err
			}
			if attested {
				all[i] = e
				return nil
			}
			if e.boot, err = c.knownBoot(ctx, m); err != nil {
				return err
			}
			e.token, err = c.onDisk(ctx, m, agent.TokenFile)
			all[i] = e
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Read after the documents: whoever revokes something writes this first.
	revoked, _, err := v.Revoked(parent)
	for i, e := range all {
		all[i].want.Revoked = revoked.For(e.machine.Role, e.machine.Name)
		_, all[i].out = revoked.Machine(e.machine.Name)
	}
	c.leaveAlone(all)
	return all, err
}

func (c *Cluster) readBoot(ctx context.Context, machine string) (agent.Boot, error) {
	var b agent.Boot
	content, err := c.Provider.Read(ctx, machine, unit.BootFile)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	// A file that somebody broke counts as none: it is written again.
	_ = json.Unmarshal(content, &b)
	return b, nil
}

// knownBoot is the boot document on a machine's disk; the empty one if it has no disk yet.
func (c *Cluster) knownBoot(ctx context.Context, m provider.Machine) (agent.Boot, error) {
	if m.State == provider.Absent {
		return agent.Boot{}, nil
	}
	return c.readBoot(ctx, m.Name)
}

// onDisk says whether there is a file or directory on a machine's disk.
func (c *Cluster) onDisk(ctx context.Context, m provider.Machine, path string) (bool, error) {
	if m.State == provider.Absent {
		return false, nil
	}
	_, err := c.Provider.Read(ctx, m.Name, path)
	return !errors.Is(err, fs.ErrNotExist), ctx.Err() // of a directory it says that it is no file
}

func observeEnrolment(ctx context.Context, c *Cluster) ([]Drift, error) {
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	drift, err := c.observeGroups(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.out {
			continue
		}
		switch {
		case e.machine.Pool != "":
			continue // its pool is told
		case e.version == 0:
			drift = append(drift, Drift{Object: e.machine.Name, Cause: "it was never told what to be", Action: "write its desired state to Vault"})
		case !reflect.DeepEqual(e.want, e.have):
			drift = append(drift, Drift{Object: e.machine.Name, Cause: "its desired state is " + firstDifference(e.want, e.have), Action: "write it to Vault again"})
		}
		if e.attested {
			continue
		}
		if e.boot.VaultCA != c.vaultCA() {
			drift = append(drift, Drift{Object: e.machine.Name, Cause: "it does not know Vault's CA", Action: "give it"})
		}
		if e.silent(time.Now(), e.want.LeafTTL) {
			drift = append(drift, Drift{Object: e.machine.Name, Cause: "it has no live Vault token", Action: "give it an init token"})
		}
	}
	return drift, nil
}

// firstDifference names the first field in which two desired documents differ.
func firstDifference(want, have unit.Desired) string {
	w, h := reflect.ValueOf(want), reflect.ValueOf(have)
	for i := range w.NumField() {
		if !reflect.DeepEqual(w.Field(i).Interface(), h.Field(i).Interface()) {
			name, _, _ := strings.Cut(w.Type().Field(i).Tag.Get("json"), ",")
			return "of another " + name
		}
	}
	return "the same"
}

func applyEnrolment(ctx context.Context, c *Cluster, _ []Drift, _ *ui.Progress) error {
	unlock, err := c.noRotation(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return c.instructAll(ctx)
}

// instructAll tells every machine at once what to be.
func (c *Cluster) instructAll(ctx context.Context) error {
	all, err := c.enrolment(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.instructGroups(ctx) })
	for _, e := range all {
		if !e.out && e.machine.Pool == "" {
			g.Go(func() error { return c.instruct(ctx, e) })
		}
	}
	return g.Wait()
}

// instruct writes a machine's desired state, where it is another than it was, and has the machine look at once.
func (c *Cluster) instruct(ctx context.Context, e enrolled) error {
	changed := !reflect.DeepEqual(e.want, e.have)
	if changed {
		v, err := c.operatorVault(ctx)
		if err != nil {
			return err
		}
		if _, err := v.WriteDocument(ctx, e.machine.Name, "desired", e.version, e.want); err != nil {
			return err
		}
	}
	if e.attested {
		return nil // it reads what it is to be by itself
	}
	token := e.silent(time.Now(), e.want.LeafTTL) || c.restoring.strange()
	if !changed && !token && e.boot.VaultCA == c.vaultCA() {
		return nil
	}
	return c.introduce(ctx, e, token)
}

// introduce tells a machine where Vault is and, if it needs one, gives it an init token.
func (c *Cluster) introduce(ctx context.Context, e enrolled, token bool) error {
	boot := e.boot
	boot.Desired, boot.VaultCA = e.want, c.vaultCA()
	boot.Desired.CAs = nil
	c.restoring.mark(&boot, e.machine.Role)
	file, err := c.bootFile(boot)
	if err != nil {
		return err
	}
	files := []provider.File{file}
	if token {
		t, err := c.initToken(ctx, e.machine.Name)
		if err != nil {
			return fmt.Errorf("init token for %s: %w", e.machine.Name, err)
		}
		files = append([]provider.File{t}, files...)
	}
	return c.Provider.Write(ctx, e.machine.Name, files)
}

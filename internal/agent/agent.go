// Package agent is the one thing that a machine boots. It proves which machine it is, gets its certificates,
// runs its units, and reports. With Vault away it carries on from what it has on disk.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/userns"
	"ashlar.dev/ashlar/internal/vault"
)

const (
	logDir    = "/var/log/ashlar"
	recordDir = "/run/ashlar/units"
	// podsDir is on the disk that containers and their volumes are on.
	podsDir = "/var/lib"

	// interval is how often the agent looks at what it has.
	interval = 10 * time.Second
	// watchful is how often those do that hear first what was revoked, and ask.
	watchful = 4 * time.Second
	// retryFirst and retryLast bound how soon something that failed is tried again.
	retryFirst = 100 * time.Millisecond
	retryLast  = interval
	// settle gathers changes of units into one status.
	settle = 100 * time.Millisecond
)

// Agent is the state of one machine's agent.
type Agent struct {
	log  *slog.Logger
	sup  *supervisor
	boot Boot
	kept kept
	// booted is when the machine did.
	booted time.Time
	// selinux is as it was last seen.
	selinux selinux.State

	place    *place    // nil unless a cloud's user data says where this is
	session  *session  // nil until logged in
	asked    time.Time // when Vault was last asked for news; zero: it is now
	revision string    // of the boot document that was last acted on
	problems []string
	users    *userns.Ability // what came of trying; nil until then
	reported Status
	reportAt time.Time
	retry    time.Duration
}

// Run is the agent's life. It returns when ctx ends; its units go on running.
func Run(ctx context.Context, log *slog.Logger) error {
	sup, err := newSupervisor(logDir, recordDir)
	if err != nil {
		return err
	}
	a := &Agent{log: log, sup: sup, retry: retryFirst, booted: booted()}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the machine's files: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add("/etc/ashlar"); err != nil {
		return fmt.Errorf("watch /etc/ashlar: %w", err)
	}
	defer sup.wg.Wait()
	return a.loop(ctx, watcher.Events)
}

func (a *Agent) loop(ctx context.Context, files <-chan fsnotify.Event) error {
	for {
		change := a.sup.changes()
		wait := a.reconcile(ctx)
		timer := time.NewTimer(wait)
	pause:
		for {
			select {
			case <-ctx.Done():
				return nil
			case e := <-files:
				if e.Name != unit.BootFile && e.Name != unit.InitTokenFile {
					continue // its own certificates, half-written files
				}
				a.asked = time.Time{} // `up` need not wait where it can reach the machine's disk
				break pause
			case <-change:
				change = nil
				timer.Reset(min(wait, settle))
			case <-timer.C:
				break pause
			}
		}
		timer.Stop()
	}
}

// reconcile does what is due now and returns how long it may rest.
func (a *Agent) reconcile(ctx context.Context) time.Duration {
	a.problems = nil
	k, errKept := loadKept()
	if err := a.settle(ctx, k); err != nil {
		a.problem("find out what this machine is", err)
	}
	boot, err := LoadBoot()
	if err != nil {
		a.problem("read what this machine is", err)
		return a.again()
	}
	a.boot = boot
	if errKept == nil {
		a.kept = k
	} else {
		a.problem("read the kept desired state", errKept)
	}
	a.applyUnits(ctx)
	if len(a.boot.Hold) > 0 {
		a.problems = append(a.problems, "units are held back until `ashlar restore` has come to its end: "+strings.Join(a.boot.Hold, ", "))
	}
	if a.boot.VaultCA != "" {
		a.withVault(ctx)
	}
	if err := a.announce(ctx); err != nil {
		a.problem("publish Vault's certificate", err)
	}
	a.problems = append(a.problems, diskProblems("/var")...)
	if a.session != nil {
		a.problems = append(a.problems, clockProblems(a.session.client.Skew())...)
	}
	if err := errors.Join(rotateLogs(logDir, maxLog), a.sup.rotateOwnLogs(maxOwnLog)); err != nil {
		a.problem("shorten logs", err)
	}
	a.report(ctx)
	if len(a.problems) > 0 || a.boot.VaultCA != "" && a.session == nil {
		return a.again()
	}
	a.retry = retryFirst
	every := rest(a.desired().Me().Role)
	return every + rand.N(every/5)
}

// rest is how long a machine may go without news. Those that others' credentials are shown to hear soon of what was revoked.
func rest(role v1alpha1.Role) time.Duration {
	switch role {
	case v1alpha1.RoleControlPlane, v1alpha1.RoleEtcd, v1alpha1.RoleLB, v1alpha1.RoleBastion:
		return watchful
	}
	return interval
}

// again is how long to wait after a failure: longer each time.
func (a *Agent) again() time.Duration {
	a.retry = min(2*a.retry, retryLast)
	return a.retry/2 + rand.N(a.retry/2)
}

func (a *Agent) problem(doing string, err error) {
	a.log.Error(doing, "error", err)
	a.problems = append(a.problems, fmt.Sprintf("%s: %v", doing, err))
}

// desired is the document to go by: Vault's if there ever was one.
func (a *Agent) desired() unit.Desired {
	if id := a.boot.Desired.ID; a.kept.Version > 0 && (id == a.kept.Desired.ID || id == "" && a.place != nil) {
		return a.kept.Desired
	}
	return a.boot.Desired
}

func (a *Agent) applyUnits(ctx context.Context) {
	d := a.desired()
	if err := writeHosts(hostsFile, d); err != nil {
		a.problem("write "+hostsFile, err)
	}
	a.label(d)
	if a.boot.VaultCA != "" {
		if err := writeFile(unit.CAFile(unit.CAVault), []byte(a.boot.VaultCA), 0o644); err != nil {
			a.problem("write Vault's CA", err)
		}
	}
	units := unit.For(d)
	if d.Me().Role == v1alpha1.RoleVault {
		for _, c := range units[0].Certificates {
			if err := bootstrapCertificate(c.Profile, time.Now()); err != nil {
				a.problem("make Vault's first certificate", err)
			}
		}
	} else if !d.Complete() {
		units = slices.DeleteFunc(units, func(u unit.Unit) bool { return len(u.Certificates) > 0 || needsCA(u) })
	}
	if err := a.openFirstDoor(units, d); err != nil {
		a.problem("make the first host key", err)
	}
	units = slices.DeleteFunc(units, func(u unit.Unit) bool { return slices.Contains(a.boot.Hold, u.Name) })
	repair := a.revision != "" && a.revision != a.boot.Revision
	a.revision = a.boot.Revision
	a.sup.apply(ctx, units, repair)
	if err := writeFile(unit.AppliedFile, []byte(a.revision), 0o600); err != nil {
		a.problem("note what units run by", err)
	}
}

func needsCA(u unit.Unit) bool {
	return slices.ContainsFunc(u.Files, func(f unit.File) bool { return strings.HasPrefix(f.Path, unit.PKIDir) })
}

// withVault does all that needs Vault: the token, the desired document, certificates and secrets.
func (a *Agent) withVault(ctx context.Context) {
	if err := a.login(ctx); err != nil {
		a.problem("log in to Vault", err)
		return
	}
	if ask, _ := a.pace(); time.Since(a.asked) >= ask {
		if err := a.ask(ctx); err != nil {
			a.problem("read this machine's desired state from Vault", err)
		}
		if a.session == nil {
			return
		}
	}
	if a.desired().Complete() {
		a.credentials(ctx)
	}
}

// pace is that of this machine's cluster.
func (a *Agent) pace() (ask, beat time.Duration) {
	d := a.desired()
	ask, beat = Pace(len(d.Machines), d.LeafTTL)
	if often := rest(d.Me().Role); often < interval {
		ask = often
	}
	return ask, beat
}

// ask reads the desired document, and goes by it if it is another than the one that is kept.
func (a *Agent) ask(ctx context.Context) error {
	k, news, err := a.session.desired(ctx)
	if errors.Is(err, vault.ErrDenied) {
		// Whoever may log in may read this: Vault does not know the token. One that was restored has never heard of newer ones.
		a.session = nil
	}
	if err != nil {
		return err
	}
	a.asked = time.Now()
	if !news || reflect.DeepEqual(k, a.kept) {
		return nil
	}
	err = k.save()
	a.kept = k
	a.applyUnits(ctx)
	return err
}

// credentials gets what certificates and secrets are missing or due.
func (a *Agent) credentials(ctx context.Context) {
	units := unit.For(a.desired())
	a.session.revoked = a.desired().Revoked
	renewed, err := a.session.certificates(ctx, units, a.desired())
	if err != nil {
		a.problem("get certificates", err)
	}
	if hostKey, err := a.session.hostKey(ctx, units, a.desired()); err != nil {
		a.problem("get a certificate for the host key", err)
	} else if hostKey {
		a.sup.bump()
		a.sup.reloadHostKey()
	}
	written, err := a.session.secrets(ctx, units)
	if err != nil {
		a.problem("get secrets", err)
	}
	if err := forgetSecrets(units); err != nil {
		a.problem("remove old secrets", err)
	}
	if len(renewed) > 0 || written {
		a.sup.bump()
	}
	a.sup.restart(a.session.takeReplaced())
	if len(renewed) > 0 {
		a.sup.reload(func(c unit.Certificate) bool {
			return slices.ContainsFunc(renewed, func(r unit.Certificate) bool { return r.Profile.CertFile() == c.Profile.CertFile() })
		})
	}
}

// login has a session with a live token, by the kept token or else by an init token.
func (a *Agent) login(ctx context.Context) error {
	if a.session != nil && a.session.boot.VaultCA == a.boot.VaultCA && sameVaults(a.session.boot, a.boot) {
		a.session.boot = a.boot
		if err := a.session.keepAlive(ctx); err == nil {
			return nil
		} else if !errors.Is(err, errTokenGone) {
			return err
		}
	}
	s, err := newSession(ctx, a.boot, a.log)
	if err != nil {
		return err
	}
	a.session, a.asked = s, time.Time{}
	return nil
}

func sameVaults(a, b Boot) bool {
	return reflect.DeepEqual(a.Desired.WithRole(v1alpha1.RoleVault), b.Desired.WithRole(v1alpha1.RoleVault))
}

// report writes the status when something in it changed, or when it has become old.
func (a *Agent) report(ctx context.Context) {
	if a.session == nil {
		return
	}
	d := a.desired()
	s := Status{Machine: d.Self, Booted: a.booted, Desired: a.kept.Version, Revision: a.revision, Units: a.sup.statuses(), Held: held(heldFile, time.Now()),
		SELinux: a.selinux, Problems: a.problems}
	for _, p := range unit.ProfilesOf(d.Me().Role) {
		if c, err := loadCertificate(p.For(d.Self)); err == nil && c != nil {
			s.Certificates = append(s.Certificates, describe(p, c))
		}
	}
	s.HostKey = describeHostKey(unit.For(d))
	if d.Me().Role == v1alpha1.RoleWorker {
		if a.users == nil { // a kernel does not change while it runs
			if able := userns.Try(ctx, podsDir); ctx.Err() == nil {
				a.users = &able
			}
		}
		s.UserNamespaces = a.users
	}
	if _, beat := a.pace(); reflect.DeepEqual(s, a.reported) && time.Since(a.reportAt) < beat {
		return
	}
	stamped := s
	stamped.Seen = time.Now().UTC()
	if err := a.session.report(ctx, stamped); err != nil {
		a.problem("write status to Vault", err)
		return
	}
	a.reported, a.reportAt = s, time.Now()
}

// booted is when this boot of the machine began, as its first agent noted where nothing outlives a boot.
func booted() time.Time {
	const note = "/run/ashlar/booted"
	if st, err := os.Stat(note); err == nil {
		return st.ModTime().UTC()
	}
	now := time.Now().UTC()
	if err := writeFile(note, nil, 0o600); err != nil {
		return now
	}
	if st, err := os.Stat(note); err == nil {
		return st.ModTime().UTC()
	}
	return now
}

package agent

import (
	"time"

	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/userns"
)

// Status is what a machine reports of itself. It writes it to Vault, and nobody else can.
type Status struct {
	Machine string `json:"machine"`
	// Booted is when the machine did.
	Booted time.Time `json:"booted"`
	Seen   time.Time `json:"seen"`
	// Desired is the version of the desired document that the machine has taken over.
	Desired int `json:"desired"`
	// Revision is that of the boot document by which it last looked at its units.
	Revision string `json:"revision"`
	// Units, and Certificates, are sorted by name.
	Units        []UnitStatus        `json:"units"`
	Certificates []CertificateStatus `json:"certificates"`
	// HostKey is its SSH host key's certificate, where it has one.
	HostKey *HostKeyStatus `json:"hostKey,omitempty"`
	// Held are the serials of all certificates that it obtained and that have not expired, also those it has replaced.
	Held []string `json:"held,omitempty"`
	// UserNamespaces says whether pods' users can be others than the machine's own; only where there are pods.
	UserNamespaces *userns.Ability `json:"userNamespaces,omitempty"`
	// SELinux is what its kernel does.
	SELinux selinux.State `json:"selinux,omitzero"`
	// Problems are sentences for people: Vault away, clock wrong, disk full, a certificate refused.
	Problems []string `json:"problems,omitempty"`
}

// UnitState is where a unit is in its life.
type UnitState string

// The states of a unit.
const (
	UnitWaiting  UnitState = "waiting"  // for another unit, a certificate, or something elsewhere
	UnitStarting UnitState = "starting" // runs, is not ready yet
	UnitReady    UnitState = "ready"
	UnitDone     UnitState = "done" // a Once unit that has run
	UnitFailed   UnitState = "failed"
)

// Settled says that nothing more is to be waited for.
func (s UnitState) Settled() bool { return s == UnitReady || s == UnitDone }

// UnitStatus is one unit as it is.
type UnitStatus struct {
	Name     string    `json:"name"`
	State    UnitState `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Restarts int       `json:"restarts"`
	Digest   string    `json:"digest"`
}

// CertificateStatus is one certificate as it is on the machine's disk.
type CertificateStatus struct {
	CA      unit.CA `json:"ca"`
	Name    string  `json:"name"`
	Subject string  `json:"subject"`
	Serial  string  `json:"serial"`
	// Issuer is the key that signed it, as in unit.Desired's Issuers.
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"notAfter"`
	Renew    time.Time `json:"renew"`
}

// HostKeyStatus is the certificate of an SSH host key as it is on the machine's disk.
type HostKeyStatus struct {
	// Serial is in decimal, as sshd writes it. Fingerprint is the key's, CA that of the key that signed it.
	Serial      string    `json:"serial"`
	Fingerprint string    `json:"fingerprint"`
	CA          string    `json:"ca"`
	NotAfter    time.Time `json:"notAfter"`
	Renew       time.Time `json:"renew"`
}

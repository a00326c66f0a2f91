package phase

import (
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// sshCA is what reports call an SSH CA.
func sshCA(name string) unit.CA { return unit.CA("ssh-" + name) }

// placeOfCA is where a CA is listed: those of SSH last.
func placeOfCA(ca unit.CA) int {
	if i := slices.Index(unit.CAs, ca); i >= 0 {
		return i
	}
	return len(unit.CAs)
}

// reportSSH is both SSH CAs, which have no end of their own, and each machine's host key.
func reportSSH(cas *unit.SSH, machines []MachineReport, now time.Time) []CertificateReport {
	if cas == nil {
		return nil
	}
	var out []CertificateReport
	for _, ca := range []struct{ name, keys string }{{vault.SSHHosts, cas.HostCA}, {vault.SSHUsers, cas.UserCA}} {
		for rest := []byte(ca.keys); ; {
			key, _, _, next, err := ssh.ParseAuthorizedKey(rest)
			if err != nil {
				break // that was all
			}
			out, rest = append(out, CertificateReport{State: Valid, CA: sshCA(ca.name), Subject: ssh.FingerprintSHA256(key)}), next
		}
	}
	for _, m := range machines {
		if k := m.Status.HostKey; k != nil {
			out = append(out, CertificateReport{State: stateOfLeaf(k.Renew, k.NotAfter, now), CA: sshCA(vault.SSHHosts), Name: "host-key", Machine: m.Name,
				Units: []string{"sshd"}, Subject: k.Fingerprint, Names: []string{m.Name}, Serial: k.Serial, NotAfter: k.NotAfter, Renew: &k.Renew})
		}
	}
	return out
}

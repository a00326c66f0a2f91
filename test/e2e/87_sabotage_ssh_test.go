package e2e

import (
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/vault"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"exp-ssh", "an sshd takes passwords", editSSHD(v1alpha1.RoleWorker,
			`sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/; s/^AuthenticationMethods .*/AuthenticationMethods any/' /etc/ssh/sshd_config`)},
		sabotage{"exp-ssh", "an sshd takes keys that somebody put into root's home", editSSHD(v1alpha1.RoleWorker,
			`sed -i 's/^AuthorizedKeysFile none/AuthorizedKeysFile .ssh\/authorized_keys/; s/^PubkeyAcceptedAlgorithms .*/&,ssh-ed25519/' /etc/ssh/sshd_config`)},
		sabotage{"exp-ssh", "an sshd trusts the CA of host keys, too", func(t *testing.T, target *claim.Target) {
			editSSHD(v1alpha1.RoleVault, `echo '`+target.Desired.SSH.HostCA+`' >> /etc/ssh/user_ca.pub`)(t, target)
		}},
		sabotage{"exp-ssh", "the bastion forwards to anything", editSSHD(v1alpha1.RoleBastion,
			`sed -i 's/PermitOpen .*/PermitOpen any/' /etc/ssh/sshd_config`)},
		sabotage{"pki-rolling", "a rotation of SSH skips the end: the predecessor's engine is still in Vault",
			vaultSabotage("", "secrets", "enable", "-path=%/ssh/user-left", "ssh")},
		sabotage{"pki-rolling", "a rotation of SSH skips a machine: its sshd trusts another, too", editSSHD(v1alpha1.RoleEtcd,
			`head -n 1 /etc/ssh/user_ca.pub | sed 's/AAAAI[^ ]*/AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/' >> /etc/ssh/user_ca.pub`)},
		sabotage{"exp-ssh", "certificates of a day, for everything", func(t *testing.T, target *claim.Target) {
			role := "%/ssh/" + target.SSH[vault.SSHUsers][0] + "/roles/" + vault.Operator
			vaultSabotage("", "write", role, "key_type=ca", "allow_user_certificates=true", "allowed_users=*", "ttl=24h", "max_ttl=24h",
				"key_id_format=operator")(t, target)
		}},
	)
}

// editSSHD changes what sshd goes by on the machines of a role, and tells it.
func editSSHD(role v1alpha1.Role, edit string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		t.Cleanup(func() { ashlar(t, "up") })
		onRole(t, target, role, "set -e\n"+edit+`
begun() { grep -c '^Server listening' /var/log/ashlar/sshd.log; }
n=$(begun)
kill -HUP $(sed 's/.*"pid":\([0-9]*\).*/\1/' /run/ashlar/units/sshd.json)
for i in $(seq 100); do [ "$(begun)" -gt "$n" ] && exit 0; sleep 0.1; done
exit 1`)
	}
}

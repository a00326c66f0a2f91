package unit

import (
	"fmt"
	"syscall"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// AuditLogs are those of Vault's two audit devices. Each has everything.
var AuditLogs = []string{"/var/log/vault/audit-1.log", "/var/log/vault/audit-2.log"}

// vault runs one member of the raft cluster. It needs nothing from Vault, or there could be no first one:
// until it has a certificate of its own CA, its listener uses one that the machine signed itself and `up` pins.
func vault(d Desired) Unit {
	me := d.Me()
	// Alone it elects itself as soon as it can. Of several, none shall lose its lead to a second in which its machine was busy.
	multiplier := 1
	if len(d.WithRole(v1alpha1.RoleVault)) > 1 {
		multiplier = 3
	}
	listener := certificate(d, CAVault, "vault")
	p := listener.Profile
	config := fmt.Sprintf(`ui            = false
disable_mlock = true
log_level     = "warn"
api_addr      = "https://%[1]s:%[2]d"
cluster_addr  = "https://%[3]s:%[4]d"

listener "tcp" {
  address         = "0.0.0.0:%[2]d"
  cluster_address = "%[3]s:%[4]d"
  tls_cert_file   = %[5]q
  tls_key_file    = %[6]q
  tls_min_version = "tls12"
}

storage "raft" {
  path                   = "/var/lib/vault"
  node_id                = %[1]q
  performance_multiplier = %[7]d
}
`, me.Name, PortVault, me.Address, PortVaultCluster, p.CertFile(), p.KeyFile(), multiplier)
	if d.Region != "" {
		config += fmt.Sprintf("\nseal \"awskms\" {\n  region     = %q\n  kms_key_id = %q\n}\n", d.Region, "alias/"+d.Cluster+"-vault")
	}
	return Unit{
		Name: string(v1alpha1.RoleVault),
		Args: []string{Bin + "/vault", "server", "-config=/etc/vault/config.hcl"},
		// Without a home directory Vault looks for one in vain.
		Env: []string{"HOME=/var/lib/vault"},
		Files: []File{
			{Path: "/etc/vault/config.hcl", Mode: 0o600, Content: config},
			{Path: "/var/log/vault/.keep", Mode: 0o600},
			{Path: "/var/lib/vault/.keep", Mode: 0o600},
		},
		Certificates: []Certificate{listener},
		Ready:        Probe{URL: fmt.Sprintf("tcp://127.0.0.1:%d", PortVault)},
		ReloadSignal: int(syscall.SIGHUP),
		Logs:         AuditLogs,
		Grace:        10 * time.Second,
	}
}

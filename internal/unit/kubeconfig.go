package unit

import "fmt"

// kubeconfig points a component at the API, with a certificate that it reads again when it is renewed.
func kubeconfig(d Desired, name string, client Certificate) File {
	return File{Path: "/etc/kubernetes/" + name + ".kubeconfig", Mode: 0o600, Content: fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]q
  cluster: {server: %[2]q, certificate-authority: %[3]s, tls-server-name: %[4]s}
users:
- name: %[5]s
  user: {client-certificate: %[6]s, client-key: %[7]s}
contexts:
- name: default
  context: {cluster: %[1]q, user: %[5]s}
current-context: default
`, d.Cluster, d.APIServerURL(), CAFile(CAKubernetes), APIServerName, name, client.Profile.CertFile(), client.Profile.KeyFile())}
}

package unit_test

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/internal/unit"
)

// A name may look like something else to YAML: 123, true, 1e-0.
func TestNamesStayStrings(t *testing.T) {
	everyUnit(t, func(t *rapid.T, d unit.Desired, u unit.Unit) {
		for _, f := range u.Files {
			switch path.Ext(f.Path) {
			case ".kubeconfig":
				checkKubeconfig(t, d, f)
			case ".yaml":
				var c struct{ HostnameOverride, ClusterDomain string }
				if err := decode(f, &c); err != nil {
					t.Errorf("%s of %s in %s: %v", f.Path, d.Self, d.ClusterDomain, err)
				} else if c.HostnameOverride != "" && c.HostnameOverride != d.Self || c.ClusterDomain != "" && c.ClusterDomain != d.ClusterDomain {
					t.Errorf("%s of %s in %s says %+v", f.Path, d.Self, d.ClusterDomain, c)
				}
			case ".conflist":
				var c struct{ Plugins []struct{ NodeName string } }
				if err := json.Unmarshal([]byte(f.Content), &c); err != nil || c.Plugins[0].NodeName != d.Self {
					t.Errorf("%s of %s says %+v (%v)", f.Path, d.Self, c, err)
				}
			}
		}
	})
}

// decode reads YAML as Kubernetes does, which makes JSON of it before it knows what a field should be.
func decode(f unit.File, into any) error {
	b, err := yaml.YAMLToJSONStrict([]byte(f.Content))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func checkKubeconfig(t *rapid.T, d unit.Desired, f unit.File) {
	var c struct {
		Clusters []struct {
			Name    string
			Cluster map[string]string
		}
		Users []struct {
			Name string
			User map[string]string
		}
		Contexts []struct {
			Name    string
			Context struct{ Cluster, User string }
		}
		CurrentContext string `json:"current-context"`
	}
	if err := decode(f, &c); err != nil {
		t.Errorf("%s of cluster %s: %v", f.Path, d.Cluster, err)
		return
	}
	name, server := d.Cluster, d.APIServerURL()
	if path, ok := strings.CutPrefix(f.Path, "/etc/kubernetes/webhook-"); ok { // goes to this very machine
		name, server = "webhook", "https://localhost:9443/"+strings.ReplaceAll(strings.TrimSuffix(path, ".kubeconfig"), "-", "/")
	}
	context := c.Contexts[0]
	if context.Name != c.CurrentContext || context.Context.Cluster != c.Clusters[0].Name || context.Context.User != c.Users[0].Name || c.Clusters[0].Name != name {
		t.Errorf("%s of cluster %s does not fit together: %+v", f.Path, d.Cluster, c)
	}
	if got := c.Clusters[0].Cluster["server"]; got != server {
		t.Errorf("%s goes to %s", f.Path, got)
	}
}

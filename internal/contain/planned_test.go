package contain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manifests = `# what a team keeps in one file
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {ashlar.dev/class: baseline}}
spec: {containers: [{name: main, image: x}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {of: the Deployment}}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: main, image: x}]}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: main, image: x}]}}}}}}
---
apiVersion: example.com/v1
kind: Something
metadata: {name: else}
`

func TestParsePlanned(t *testing.T) {
	all, err := ParsePlanned([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %s by %q: %s/%s %v %s", p.Kind, p.Name, p.Maker, p.Pod.Namespace, p.Pod.Name, p.Pod.Labels, p.Pod.Spec.ServiceAccountName))
	}
	want := []string{
		`Pod one by "": shop/one map[ashlar.dev/class:baseline] `,
		`Deployment web by "ReplicaSet": shop/web map[app:web] web`,
		`CronJob nightly by "Job": /nightly map[] `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for text, says := range map[string]string{
		"": "no pods", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n": "no pods", "---\nhello\n": "document", "apiVersion: v1\nkind: Pod\nspec: 3\n": "document 1",
	} {
		if _, err := ParsePlanned([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

package isolation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// What is below a directory that pods write to may be a link of theirs, to anywhere.
func TestBelowWhatIsWritten(t *testing.T) {
	classes := Classes(v1alpha1.Isolation{Classes: []v1alpha1.PodClass{{Name: "c", Standard: Baseline, HostPaths: []v1alpha1.HostPath{
		{Prefix: "/var/log", ReadOnly: true}, {Prefix: "/srv/data"}}}}})
	class, _ := Find(classes, "c")
	for path, refused := range map[string]bool{
		"/srv/data": false, "/srv/data/link": true, "/srv/database": true, "/srv": true,
		"/var/log": false, "/var/log/pods": false, "/var/logs": true,
	} {
		spec := &corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}}}
		if got := class.Check(&metav1.ObjectMeta{}, spec); (len(got) > 0) != refused {
			t.Errorf("%s: %v, want a refusal: %t", path, got, refused)
		}
	}
}

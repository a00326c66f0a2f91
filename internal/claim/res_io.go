package claim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/ceiling"
	"ashlar.dev/ashlar/internal/hog"
	"ashlar.dev/ashlar/internal/unit"
)

var ioClaims = []Claim{{
	ID:    "res-io",
	Says:  "Right now Kubernetes provides no support for IO resources like Disk and Network access",
	Holds: "no pod takes more of its machine's disk, or sends or receives more, than its class lets it, on any worker",
	Probe: probeIO,
}}

// greed is one way to take more than the class allows.
type greed struct {
	what string
	// ceiling is the most, in units by second; measured is what there was.
	ceiling uint64
	unit    string
	args    []string
	measure func([]byte) (float64, error)
}

// margin is how far above its ceiling something may be measured: buffers are filled at once, and the kernel counts in slices.
const margin = 1.25

// probeIO takes all that it can get on every worker, as a pod of the class that everybody may use, and measures it.
func probeIO(ctx context.Context, t *Target) ([]Evidence, error) {
	all, err := ceiling.New(unit.Ceilings(t.Spec.Spec.Isolation))
	if err != nil {
		return nil, err
	}
	_, most := all.Of(nil)
	s, err := isolate(ctx, t)
	if err != nil {
		return nil, err
	}
	namespace, remove, err := s.namespace(ctx, everywhere(networkingv1.PolicyTypeIngress), everywhere(networkingv1.PolicyTypeEgress))
	if err != nil {
		return nil, err
	}
	defer remove()
	workers := s.Desired.WithRole(v1alpha1.RoleWorker)
	found := make([][]Evidence, len(workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		g.Go(func() (err error) {
			found[i], err = s.takeAll(ctx, namespace, w.Name, most)
			return err
		})
	}
	err = g.Wait()
	var evidence []Evidence
	for _, f := range found {
		evidence = append(evidence, f...)
	}
	return evidence, err
}

// takeAll is greedy on one worker, in each way in turn.
func (s *isolation) takeAll(ctx context.Context, namespace, worker string, most ceiling.Ceiling) ([]Evidence, error) {
	pods, err := s.pods(ctx, namespace, []wanted{
		{name: "sink-" + worker, node: worker, change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Args = []string{"probe", "sink", fmt.Sprintf("0.0.0.0:%d", isolationPort)}
		}},
		{name: "hog-" + worker, node: worker, change: func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}},
	})
	if err != nil {
		return nil, err
	}
	sink, taker := pods[0], pods[1]
	var evidence []Evidence
	for _, way := range ways(most, net.JoinHostPort(sink.Status.PodIP, strconv.Itoa(isolationPort))) {
		if way.ceiling == 0 {
			continue // as much as there is
		}
		var out, problems bytes.Buffer
		if err := execIn(ctx, s.Admin, s.client, taker, append([]string{"/ashlar", "probe", "hog"}, way.args...), &out, &problems); err != nil {
			return evidence, fmt.Errorf("%s on %s: %w: %s", way.what, worker, err, strings.TrimSpace(problems.String()))
		}
		measured, err := way.measure(out.Bytes())
		if err != nil {
			return evidence, fmt.Errorf("%s on %s: the pod answered %q: %w", way.what, worker, out.String(), err)
		}
		evidence = append(evidence, way.judge(worker, taker.Name, measured))
	}
	return evidence, nil
}

func (g greed) judge(worker, pod string, measured float64) Evidence {
	e := Evidence{
		Attempt: fmt.Sprintf("%s more than %.4g %s", g.what, float64(g.ceiling), g.unit), From: worker, As: "pod " + pod,
		Want: Refused, Got: Refused, Answer: fmt.Sprintf("it got %.4g", measured),
	}
	if measured > margin*float64(g.ceiling) {
		e.Got = Allowed
	}
	return e
}

// ways are all of them; what is too slow to come near its ceiling does not pass it either.
func ways(most ceiling.Ceiling, sink string) []greed {
	used := func(of func(hog.Used) float64) func([]byte) (float64, error) {
		return func(b []byte) (float64, error) {
			var u hog.Used
			err := json.Unmarshal(b, &u)
			return of(u), err
		}
	}
	bytes := used(func(u hog.Used) float64 { return u.BytesPerSecond })
	operations := used(func(u hog.Used) float64 { return u.PerSecond })
	sent := func(b []byte) (float64, error) {
		var s hog.Sent
		err := json.Unmarshal(b, &s)
		return s.BitsPerSecond / 8, err
	}
	disk := func(more ...string) []string {
		return append([]string{"disk", "/data", "--size=64Mi", "--for=3s"}, more...)
	}
	return []greed{
		{"write", most.Disk.Write, "bytes a second", disk("--direct"), bytes},
		{"write, synced each time,", most.Disk.Write, "bytes a second", disk("--sync"), bytes},
		{"read", most.Disk.Read, "bytes a second", disk("--read"), bytes},
		{"write, in small pieces,", most.Disk.WriteOps, "times a second", disk("--direct", "--block=4Ki", "--streams=8"), operations},
		{"send", most.Network.Egress, "bytes a second", []string{"network", sink, "--for=3s", "--streams=2", "--floods=0"}, sent},
	}
}

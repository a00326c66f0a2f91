package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/wire"
)

// firstPacket is a namespace in which pods are either open to all, or isolated from all.
const firstPacket = `
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: probe, namespace: %[1]s}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: %[1]s}
spec: {podSelector: {matchLabels: {policy: open}}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: isolated, namespace: %[1]s}
spec: {podSelector: {matchLabels: {policy: isolated}}, policyTypes: [Ingress, Egress], ingress: [], egress: []}
---
`

// A pod at an address that is known before it starts.
const firstPod = `
apiVersion: v1
kind: Pod
metadata:
  name: %[2]s
  namespace: %[1]s
  labels: {policy: %[3]s, %[8]s: ""}
  annotations: {cni.projectcalico.org/ipAddrs: '["%[4]s"]'}
spec:
  nodeName: %[5]s
  serviceAccountName: probe
  automountServiceAccountToken: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[6]s
    imagePullPolicy: Never
    args: [probe, %[7]s]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
---
`

// crowd starts pods, again and again at the same addresses, while a witness on each worker knocks at those addresses.
type crowd struct {
	namespace, image string
	workers          []string
	size             int // pods of one round on a worker
	witnesses        []netip.Addr
	manifest         string // what is made in one go with the pods
}

// fresh is the same in a namespace that does not exist yet: its policies are as new as its pods.
func (c crowd) fresh(t *testing.T, round int) crowd {
	c.namespace = fmt.Sprintf("%s-%d", c.namespace, round)
	c.manifest = fmt.Sprintf(firstPacket, c.namespace)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", c.namespace, "--wait=false", "--ignore-not-found") })
	return c
}

// at is an address of a worker's own. The last of the pods' addresses are far from those that are given out in turn.
func (c crowd) at(worker, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 244, 250, byte(64*worker + n)})
}

// addresses returns those of pods under a policy: those that are open have others than those that are isolated.
func (c crowd) addresses(policy string) []netip.Addr {
	from := map[string]int{"isolated": 10, "open": 30}[policy]
	var out []netip.Addr
	for w := range c.workers {
		for n := range c.size {
			out = append(out, c.at(w, from+n))
		}
	}
	return out
}

func (c crowd) pod(name, policy string, address netip.Addr, worker int, args ...string) string {
	return fmt.Sprintf(firstPod, c.namespace, name, policy, address, c.workers[worker], c.image, strings.Join(args, ", "), args[0])
}

func list(addresses []netip.Addr) []string {
	var out []string
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}

// TestFirstPacket starts pods whose first action is to talk, under a policy that lets nothing in and nothing out, while
// others knock at their addresses since before they exist. Not one packet may pass in either direction, on the same
// worker or across. Every other round, the namespace and its policy are made together with the pods. Pods without such a
// policy show that everything would be heard.
func TestFirstPacket(t *testing.T) {
	c := crowd{namespace: "first-packet", image: importImage(t, "ashlar"), workers: []string{"worker-0", "worker-1"}, size: 5}
	starts := 20
	if slow {
		starts = 100
	}
	t.Cleanup(func() { kubectl(t, "delete", "namespace", c.namespace, "--wait=false", "--ignore-not-found") })
	manifest := fmt.Sprintf(firstPacket, c.namespace)
	knockAt := list(append(c.addresses("isolated"), c.addresses("open")...))
	for w := range c.workers {
		c.witnesses = append(c.witnesses, c.at(w, 1))
		manifest += c.pod(fmt.Sprintf("witness-%d", w), "open", c.at(w, 1), w, append([]string{"witness"}, knockAt...)...)
	}
	apply(t, manifest)
	kubectl(t, "wait", "pods", "--all", "--namespace="+c.namespace, "--for=condition=Ready", "--timeout=60s")

	isolated := 0
	for round := 0; isolated < starts; round++ {
		in := c
		if round%2 == 1 {
			in = c.fresh(t, round)
		}
		for name, s := range in.round(t, "isolated") {
			isolated++
			if s.Received > 0 {
				t.Errorf("%s received %d packets", name, s.Received)
			}
			if s.Sent < 10 {
				t.Errorf("%s sent %d packets: it did not try", name, s.Sent)
			}
		}
	}
	open := 0
	for name, s := range c.round(t, "open") {
		open++
		if s.Received == 0 {
			t.Errorf("%s, which is open, received nothing: what is isolated would not be noticed either", name)
		}
	}
	for w, said := range c.testimonies(t) {
		for _, a := range c.addresses("isolated") {
			if p := said[a]; p.Heard > 0 || p.Answered > 0 || p.Sent == 0 {
				t.Errorf("%s, of isolated %s: %+v", c.workers[w], a, p)
			}
		}
		for _, a := range c.addresses("open") {
			if p := said[a]; p.Heard == 0 || p.Answered == 0 {
				t.Errorf("%s, of open %s: %+v", c.workers[w], a, p)
			}
		}
	}
	t.Logf("%d isolated starts, %d open", isolated, open)
}

// round starts a pod at each address, waits for all to end, and returns what passed for each.
func (c crowd) round(t *testing.T, policy string) map[string]wire.Start {
	t.Helper()
	var manifest strings.Builder
	for i, a := range c.addresses(policy) {
		manifest.WriteString(c.pod(fmt.Sprintf("%s-%d", policy, i), policy, a, i/c.size, append([]string{"first"}, list(c.witnesses)...)...))
	}
	apply(t, c.manifest+manifest.String())
	subjects := []string{"--namespace=" + c.namespace, "--selector=first"}
	kubectl(t, append([]string{"wait", "pods", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s"}, subjects...)...)
	starts := map[string]wire.Start{}
	for i := range c.addresses(policy) {
		name := fmt.Sprintf("%s-%d", policy, i)
		var s wire.Start
		if out := kubectl(t, "logs", name, "--namespace="+c.namespace); json.Unmarshal([]byte(out), &s) != nil {
			t.Fatalf("%s said %q", name, out)
		}
		starts[name] = s
	}
	kubectl(t, append([]string{"delete", "pods", "--wait", "--timeout=60s"}, subjects...)...)
	return starts
}

// testimonies returns what each witness says that began to speak after this was asked.
func (c crowd) testimonies(t *testing.T) []map[netip.Addr]wire.Peer {
	t.Helper()
	out := make([]map[netip.Addr]wire.Peer, len(c.workers))
	for w := range c.workers {
		asked := -1
		eventually(t, 10*time.Second, func() error {
			var said wire.Testimony
			line := kubectl(t, "logs", fmt.Sprintf("witness-%d", w), "--namespace="+c.namespace, "--tail=1")
			if err := json.Unmarshal([]byte(line), &said); err != nil {
				return err
			}
			if asked < 0 {
				asked = said.Number
			}
			if said.Number < asked+2 {
				return errors.New("the witness has said nothing since")
			}
			out[w] = said.Peers
			return nil
		})
	}
	return out
}

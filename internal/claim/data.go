package claim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

var dataClaims = []Claim{
	{
		ID:    "data-at-rest",
		Says:  "While Vault is currently only used for handling infrastructure related credentials, its also capable of handling credentials of the Cluster's workload",
		Holds: "Secrets and ConfigMaps are unreadable in etcd's own data",
		Probe: probeAtRest,
	},
	{
		ID:    "data-audit",
		Says:  "After a client is authenticated Kubernetes, by default, authorizes this client for all operations",
		Holds: "who did what, from where, is in the API's audit log, and no secret is",
		Probe: probeAudit,
	}}

// planted is a Secret and a ConfigMap that hold a word nobody else can have written.
type planted struct{ namespace, name, word string }

func plant(ctx context.Context, c kubernetes.Interface) (planted, func(), error) {
	p := planted{namespace: metav1.NamespaceDefault, name: "ashlar-verify-" + strings.ToLower(rand.Text()[:8]), word: rand.Text()}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = c.CoreV1().Secrets(p.namespace).Delete(ctx, p.name, metav1.DeleteOptions{})
		_ = c.CoreV1().ConfigMaps(p.namespace).Delete(ctx, p.name, metav1.DeleteOptions{})
	}
	meta := metav1.ObjectMeta{Name: p.name}
	_, err := c.CoreV1().Secrets(p.namespace).Create(ctx, &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"word": p.word}}, metav1.CreateOptions{})
	if err == nil {
		_, err = c.CoreV1().ConfigMaps(p.namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"word": p.word}}, metav1.CreateOptions{})
	}
	if err != nil {
		remove()
		return planted{}, nil, fmt.Errorf("write a Secret and a ConfigMap to look for: %w", err)
	}
	return p, remove, nil
}

// probeAtRest reads what etcd holds, by its own client and in its files.
func probeAtRest(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	p, remove, err := plant(ctx, admin)
	if err != nil {
		return nil, err
	}
	defer remove()
	var evidence []Evidence
	back, err := admin.CoreV1().Secrets(p.namespace).Get(ctx, p.name, metav1.GetOptions{})
	if err == nil && string(back.Data["word"]) != p.word {
		err = errors.New("the API returned something else")
	}
	evidence = append(evidence, attempt("read the Secret back through the API", "operator", "admin", Allowed, err))
	for _, kind := range []string{"secrets", "configmaps"} {
		key := "/registry/" + kind + "/" + p.namespace + "/" + p.name
		raw, err := rawValue(ctx, t, key)
		if err != nil {
			return nil, err
		}
		evidence = append(evidence, readable("read "+kind+" from etcd by its key", raw, p.word))
	}
	onDisk, err := inFiles(ctx, t, p.word)
	if err != nil {
		return nil, err
	}
	return append(evidence, onDisk...), nil
}

// readable says whether a value that must be sealed gives its word away.
func readable(what string, raw []byte, word string) Evidence {
	e := Evidence{Attempt: what, From: "control-plane", As: "kube-apiserver of etcd", Want: Refused, Got: Refused, Answer: "sealed: " + sealed}
	switch {
	case bytes.Contains(raw, []byte(word)):
		e.Got, e.Answer = Allowed, "it is there in clear"
	case !bytes.HasPrefix(raw, []byte(sealed)):
		e.Got, e.Answer = Allowed, "it is not sealed by the KMS plug-in"
	}
	return e
}

// sealed is how the API server marks what a KMS v2 plug-in sealed.
const sealed = "k8s:enc:kms:v2:vault-transit:"

// rawValue reads a key of etcd as the API server would.
func rawValue(ctx context.Context, t *Target, key string) ([]byte, error) {
	machine := first(t, v1alpha1.RoleControlPlane)
	p := unit.Profile{CA: unit.CAEtcdKubernetes, Name: "kube-apiserver"}
	out, err := run(ctx, t, machine, unit.Bin+"/etcdctl", "--endpoints="+t.Desired.EtcdEndpoints(unit.EtcdClusters[0]),
		"--cacert="+unit.CAFile(p.CA), "--cert="+p.CertFile(), "--key="+p.KeyFile(), "get", key, "--print-value-only")
	if err != nil {
		return nil, fmt.Errorf("read %s from etcd: %w", key, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("etcd has no key %s", key)
	}
	return out, nil
}

// inFiles looks for a word in the files of every etcd member, and for one that must be there, so that looking is proved to work.
func inFiles(ctx context.Context, t *Target, word string) ([]Evidence, error) {
	var evidence []Evidence
	for _, m := range t.Desired.WithRole(v1alpha1.RoleEtcd) {
		for what, want := range map[string]Expectation{word: Refused, "/registry/namespaces/default": Allowed} {
			out, err := run(ctx, t, m.Name, "sh", "-c", `grep -rlaF -- "$1" /var/lib/etcd/k8s || test $? = 1`, "sh", what)
			if err != nil {
				return nil, fmt.Errorf("search etcd's files on %s: %w", m.Name, err)
			}
			e := Evidence{Attempt: "find a word in etcd's files", From: m.Name, As: "root", Want: want, Got: Refused, Answer: "in no file"}
			if len(out) > 0 {
				e.Got, e.Answer = Allowed, "in "+strings.Join(strings.Fields(string(out)), ", ")
			}
			evidence = append(evidence, e)
		}
	}
	return evidence, nil
}

// event is what matters of a line of the audit log.
type event struct {
	Verb      string
	User      struct{ Username string }
	SourceIPs []string `json:"sourceIPs"`
	ObjectRef struct{ Resource, Namespace, Name string }
	Status    struct{ Code int }         `json:"responseStatus"`
	As        *struct{ Username string } `json:"impersonatedUser"`
}

// probeAudit does something, is refused something, and looks both up.
func probeAudit(ctx context.Context, t *Target) ([]Evidence, error) {
	admin, err := kubernetes.NewForConfig(t.Admin)
	if err != nil {
		return nil, err
	}
	p, remove, err := plant(ctx, admin)
	if err != nil {
		return nil, err
	}
	defer remove()
	nobody := rest.CopyConfig(t.Admin)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "ashlar:nobody", Groups: []string{"system:authenticated"}}
	client, err := kubernetes.NewForConfig(nobody)
	if err != nil {
		return nil, err
	}
	if _, err := client.CoreV1().Secrets(p.namespace).Get(ctx, p.name, metav1.GetOptions{}); err == nil {
		return nil, errors.New("nobody may read Secrets: authz-default is broken, and what is refused cannot be looked up")
	}
	log, err := auditLog(ctx, t)
	if err != nil {
		return nil, err
	}
	events := eventsOf(log, p.name)
	leak := Evidence{Attempt: "find the Secret's word in the audit log", From: "control-plane", As: "root", Want: Refused, Got: Refused, Answer: "it is not there"}
	if bytes.Contains(log, []byte(p.word)) {
		leak.Got, leak.Answer = Allowed, "it is there in clear"
	}
	// The log also has bodies as base64, in which a word has three possible forms; its own is that of the Secret's data.
	return []Evidence{
		found(events, "create secrets", func(e event) bool {
			return e.Verb == "create" && e.ObjectRef.Resource == "secrets" && e.User.Username == "admin" && len(e.SourceIPs) > 0 && e.As == nil
		}),
		found(events, "a refused get secrets", func(e event) bool {
			return e.Verb == "get" && e.Status.Code == 403 && e.As != nil && e.As.Username == "ashlar:nobody" && len(e.SourceIPs) > 0
		}),
		leak, bodies(log, p),
	}, nil
}

// bodies says whether the log has the body of the Secret, in which the word would be base64.
func bodies(log []byte, p planted) Evidence {
	e := Evidence{Attempt: "find the Secret's body in the audit log", From: "control-plane", As: "root", Want: Refused, Got: Refused, Answer: "no line has one"}
	for line := range bytes.Lines(log) {
		var l struct {
			ObjectRef                     struct{ Resource string }
			RequestObject, ResponseObject *struct{ Kind string }
		}
		if !bytes.Contains(line, []byte(p.name)) || json.Unmarshal(line, &l) != nil || l.ObjectRef.Resource != "secrets" {
			continue
		}
		// Of bodies only how a deletion is asked for, and an answer that is no object, say nothing.
		if l.RequestObject != nil && l.RequestObject.Kind != "DeleteOptions" || l.ResponseObject != nil && l.ResponseObject.Kind != "Status" {
			e.Got, e.Answer = Allowed, "a line has it"
		}
	}
	return e
}

func found(events []event, what string, match func(event) bool) Evidence {
	e := Evidence{Attempt: "look up " + what, From: "control-plane", As: "root", Want: Allowed, Got: Refused, Answer: "no line says who did it, and from where"}
	for _, ev := range events {
		if match(ev) {
			e.Got, e.Answer = Allowed, fmt.Sprintf("%s by %s from %s", ev.Verb, ev.User.Username, strings.Join(ev.SourceIPs, ", "))
		}
	}
	return e
}

// eventsOf returns the events about the object of a name.
func eventsOf(log []byte, name string) []event {
	var out []event
	for line := range bytes.Lines(log) {
		var e event
		if bytes.Contains(line, []byte(name)) && json.Unmarshal(line, &e) == nil {
			out = append(out, e)
		}
	}
	return out
}

// auditLog is that of all API servers: a request is in the log of the one that answered it.
func auditLog(ctx context.Context, t *Target) ([]byte, error) {
	var all []byte
	for _, m := range t.Desired.WithRole(v1alpha1.RoleControlPlane) {
		log, err := t.Provider.Read(ctx, m.Name, "/var/log/kubernetes/audit.log")
		if err != nil {
			return nil, fmt.Errorf("read the audit log of %s: %w", m.Name, err)
		}
		all = append(all, log...)
	}
	return all, nil
}

// first returns the name of the first machine of a role.
func first(t *Target, role v1alpha1.Role) string { return t.Desired.WithRole(role)[0].Name }

// run runs a command on a machine and returns what it wrote.
func run(ctx context.Context, t *Target, machine string, args ...string) ([]byte, error) {
	var out, problems bytes.Buffer
	err := t.Provider.Exec(ctx, machine, provider.Exec{Args: args, Stdout: &out, Stderr: &problems})
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}

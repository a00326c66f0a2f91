package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/provider"
)

// creation is a line of the API's audit log, as far as it says who made something.
type creation struct {
	Verb             string
	User             authzUser
	ImpersonatedUser *authzUser
	ObjectRef        struct{ Resource, Subresource, Namespace, Name string }
	ResponseStatus   struct{ Code int }
	Received         time.Time `json:"requestReceivedTimestamp"`
}

type authzUser struct {
	Username string
	Groups   []string
}

// maker is who made a pod. The controllers of Kubernetes do so under names of their own: of other pods the API's audit log tells.
func (c *Cluster) maker(ctx context.Context, pod *corev1.Pod) ([]Use, error) {
	if owner := metav1.GetControllerOf(pod); owner != nil && controllerOf(owner.Kind) != "" {
		return []Use{{Role: "what made it, for " + owner.Kind + " " + owner.Name, Who: controllerSubject(owner.Kind)}}, nil
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if m.Role != v1alpha1.RoleControlPlane || m.State != provider.Running {
			continue
		}
		lines, err := c.creations(ctx, m.Name, pod.Name)
		if err != nil {
			return nil, err
		}
		if who, ok := madeBy(lines, pod); ok {
			return []Use{{Role: "who made it", Who: who}}, nil
		}
	}
	return nil, nil // the log of then is gone, or the machine that has it is
}

// controllerOf is the ServiceAccount of the controller that makes the pods of a kind of object.
func controllerOf(kind string) string {
	return map[string]string{"ReplicaSet": "replicaset-controller", "StatefulSet": "statefulset-controller", "DaemonSet": "daemon-set-controller",
		"Job": "job-controller", "ReplicationController": "replication-controller"}[kind]
}

func controllerSubject(kind string) authz.Subject {
	return authz.Subject{User: authz.ServiceAccountUser(metav1.NamespaceSystem, controllerOf(kind)), Groups: accountGroups(metav1.NamespaceSystem)}
}

// creations are the lines of a machine's audit log that are about making something of a name.
func (c *Cluster) creations(ctx context.Context, machine, name string) ([]byte, error) {
	const script = `cat /var/log/kubernetes/audit*.log | grep -F '"verb":"create"' | grep -F "\"name\":\"$1\""`
	var out, problems bytes.Buffer
	err := c.Provider.Exec(ctx, machine, provider.Exec{Args: []string{"sh", "-c", script, "sh", name}, Stdout: &out, Stderr: &problems})
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("search the audit log of %s: %w: %s", machine, err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}

// madeBy finds who made just this pod: one of the same name may have been there before.
func madeBy(log []byte, pod *corev1.Pod) (authz.Subject, bool) {
	var found *authzUser
	for line := range bytes.Lines(log) {
		var e creation
		if json.Unmarshal(line, &e) != nil || e.Verb != "create" || e.ObjectRef.Resource != "pods" || e.ObjectRef.Subresource != "" ||
			e.ObjectRef.Namespace != pod.Namespace || e.ObjectRef.Name != pod.Name || e.ResponseStatus.Code != 201 {
			continue
		}
		// The API notes whole seconds of when an object was made; a request may take some.
		if made := pod.CreationTimestamp.Time; e.Received.After(made.Add(time.Second)) || e.Received.Before(made.Add(-time.Minute)) {
			continue
		}
		found = &e.User
		if e.ImpersonatedUser != nil {
			found = e.ImpersonatedUser
		}
	}
	if found == nil {
		return authz.Subject{}, false
	}
	groups := slices.DeleteFunc(found.Groups, func(g string) bool { return strings.TrimSpace(g) == "" })
	return authz.Subject{User: found.Username, Groups: groups}, true
}

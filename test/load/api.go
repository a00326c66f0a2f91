package load

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// client is an access to the API that is renewed while it is used.
type client struct {
	load  *Load
	admin *rest.Config
	kube  kubernetes.Interface
}

// api returns the client by its present credential: with another one it opens another connection.
func (c *client) api() (kubernetes.Interface, error) {
	admin := c.load.now().Admin
	if admin == c.admin {
		return c.kube, nil
	}
	kube, err := kubernetes.NewForConfig(admin)
	if err == nil {
		c.admin, c.kube = admin, kube
	}
	return c.kube, err
}

// writer counts upwards in a ConfigMap, reads each number back, and has it watched.
type writer struct {
	client
	name    string
	version string // of the ConfigMap when it was made: from there it is watched
}

func newWriter(l *Load, name string) *writer { return &writer{client: client{load: l}, name: name} }

func (w *writer) begin(ctx context.Context) error {
	api, err := w.api()
	if err != nil {
		return err
	}
	made, err := api.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: w.name + "-"}, Data: map[string]string{"n": "0"}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make a ConfigMap: %w", err)
	}
	w.name, w.version = made.Name, made.ResourceVersion
	return nil
}

// run writes and reads until ctx ends, and then waits for the watcher to see the last of it.
func (w *writer) run(ctx context.Context) {
	watching, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	seen := make(chan int, 1)
	go func() { (&watcher{client: client{load: w.load}, name: w.name, version: w.version}).run(watching, seen) }()
	n := 0
	each(ctx, pace, func() {
		if err := w.write(ctx, n+1); err != nil {
			w.load.count(ctx, "writers", err)
			return
		}
		n++
		w.load.count(ctx, "writers", nil)
		w.load.count(ctx, "readers", w.check(ctx, n))
	})
	end := time.After(patience)
	last := 0
	for last < n {
		select {
		case last = <-seen:
		case <-end:
			w.load.lost(n-last, fmt.Sprintf("%s: the last event seen is %d of %d", w.name, last, n))
			last = n
		}
	}
	done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if api, err := w.api(); err == nil {
		_ = api.CoreV1().ConfigMaps(metav1.NamespaceDefault).Delete(ctx, w.name, metav1.DeleteOptions{}) // the cluster goes anyway
	}
}

func (w *writer) write(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api, err := w.api()
	if err != nil {
		return err
	}
	for {
		_, err = api.CoreV1().ConfigMaps(metav1.NamespaceDefault).Update(ctx,
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Data: map[string]string{"n": strconv.Itoa(n)}}, metav1.UpdateOptions{})
		if err == nil || !strings.Contains(err.Error(), proposalDropped) && !strings.Contains(err.Error(), proposalLost) {
			return err
		}
		w.load.repeated("writers")
	}
}

// proposalDropped is etcd's answer in the moment in which one member hands the lead over to another (raft.ErrProposalDropped):
// nothing was written. API servers hand it on, where a client of etcd would ask again; so this one does, and it is counted.
const proposalDropped = "raft proposal dropped"

// proposalLost is what it says when another member had passed the proposal on to the one that handed over: whether it was
// written nobody knows. Writing the same again is no harm, and what is read must be it.
const proposalLost = "etcdserver: request timed out"

// mostRepeated is how many of a thousand requests may be asked for again: more is a leader that does not last.
const mostRepeated = 1

func (w *writer) check(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := w.kube.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(ctx, w.name, metav1.GetOptions{})
	if err == nil && got.Data["n"] != strconv.Itoa(n) {
		err = fmt.Errorf("wrote %d, read %s", n, got.Data["n"])
	}
	return err
}

// read lists what is small, until ctx ends.
func (l *Load) read(ctx context.Context) {
	c := &client{load: l}
	each(ctx, pace, func() {
		l.count(ctx, "readers", func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			api, err := c.api()
			if err != nil {
				return err
			}
			_, err = api.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			return err
		}())
	})
}

// watcher sees every number of a writer, once and in order, whatever ends its connections.
type watcher struct {
	client
	name, version string
	last          int
}

func (w *watcher) run(ctx context.Context, seen chan int) {
	for ctx.Err() == nil {
		w.watch(ctx, seen)
		select { // a server that stops ends watches; there is another
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *watcher) watch(ctx context.Context, seen chan int) {
	api, err := w.api()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*fresh) // then with another credential
	defer cancel()
	events, err := api.CoreV1().ConfigMaps(metav1.NamespaceDefault).Watch(ctx,
		metav1.ListOptions{FieldSelector: "metadata.name=" + w.name, ResourceVersion: w.version})
	if err != nil {
		return // what it misses, it finds missing
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		m, ok := e.Object.(*corev1.ConfigMap)
		if !ok || e.Type != watch.Modified {
			// A stream that breaks off is no loss: the next goes on from there. One that cannot is.
			if err := apierrors.FromObject(e.Object); e.Type == watch.Error && (apierrors.IsGone(err) || apierrors.IsResourceExpired(err)) {
				w.load.lost(1, fmt.Sprintf("%s: the watch ended with %v", w.name, err))
			}
			continue
		}
		n, err := strconv.Atoi(m.Data["n"])
		if err != nil {
			continue
		}
		if n > w.last+1 {
			w.load.lost(n-w.last-1, fmt.Sprintf("%s: after %d came %d", w.name, w.last, n))
		}
		w.last, w.version = n, m.ResourceVersion
		w.load.saw(1)
		select {
		case <-seen:
		default:
		}
		seen <- n
	}
}

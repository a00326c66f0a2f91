// Package etcdjoin decides, on an etcd machine whose disk has no data, whether its member begins a cluster together with the
// others, or comes back to one that it has lost its data of.
package etcdjoin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Member is what the others know of a member.
type Member struct {
	ID       uint64
	Name     string // empty for one that was added and has not started yet
	PeerURLs []string
	// Started says that it was in service once.
	Started bool
}

// Plan is how a member without data starts.
type Plan struct {
	// Existing: it joins a cluster that is there, of the members in Initial.
	Existing bool
	Initial  string
	// Remove is the member that it was, if the others still count on that; Add says that they have to take it in.
	Remove uint64
	Add    bool
}

// Decide is how the member of that name and peer URL starts, by what the others say their members are; none: nobody answers.
func Decide(name, peerURL string, members []Member) Plan {
	if len(members) == 0 {
		return Plan{}
	}
	p := Plan{Existing: true, Initial: initial(name, peerURL, members)}
	for _, m := range members {
		switch {
		case m.Name == "" && slices.Contains(m.PeerURLs, peerURL):
			return p // it was added, and did not come to start
		case m.Name == name && !m.Started:
			return Plan{} // it is late at the beginning of the cluster
		case m.Name == name:
			p.Remove = m.ID
		}
	}
	p.Add = true
	return p
}

// initial lists members as etcd's --initial-cluster has them.
func initial(name, peerURL string, members []Member) string {
	out := []string{name + "=" + peerURL}
	for _, m := range members {
		if m.Name != name && m.Name != "" {
			for _, u := range m.PeerURLs {
				out = append(out, m.Name+"="+u)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// Members asks the others who the members are. None of them answering is no error: there may be no cluster yet.
func Members(ctx context.Context, client *clientv3.Client) []Member {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil
	}
	return members(list.Members)
}

func members(list []*etcdserverpb.Member) []Member {
	var out []Member
	for _, m := range list {
		out = append(out, Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Started: len(m.ClientURLs) > 0})
	}
	return out
}

// Join has the others do what a plan needs of them. They must be in touch with each other, which takes them some seconds
// after a start: until then it is tried again.
func Join(ctx context.Context, client *clientv3.Client, p Plan, peerURL string) error {
	if p.Remove != 0 {
		err := retry(ctx, func() error { _, err := client.MemberRemove(ctx, p.Remove); return err })
		if err != nil {
			return fmt.Errorf("remove member %x, which has lost its data: %w", p.Remove, err)
		}
	}
	if !p.Add {
		return nil
	}
	err := retry(ctx, func() error { _, err := client.MemberAdd(ctx, []string{peerURL}); return err })
	if err != nil {
		return fmt.Errorf("add member %s: %w", peerURL, err)
	}
	return nil
}

func retry(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Await asks the others who the members are until they say so.
func Await(ctx context.Context, client *clientv3.Client) ([]Member, error) {
	for {
		if m := Members(ctx, client); len(m) > 0 {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the other members do not answer: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

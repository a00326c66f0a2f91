package shortcut

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// refresh is how often the network is read without a word from the kernel, and the lifetimes, of which it has none.
const refresh = 10 * time.Second

// receiveBuffer holds what the kernel says while a hundred pods come at once.
const receiveBuffer = 1 << 20

// Keep applies the network as it is, and as it becomes, until the context ends.
func (s *Shortcut) Keep(ctx context.Context, pods netip.Prefix) error {
	changed, failed, stop, err := changes()
	if err != nil {
		return err
	}
	defer stop()
	again := time.NewTicker(refresh)
	defer again.Stop()
	for {
		n, err := look()
		if err == nil {
			err = s.Apply(n, pods)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-changed:
		case <-again.C:
			if err := s.readLifetimes(); err != nil {
				return err
			}
		}
	}
}

// changes says that links, routes or neighbours are others than before: any number of changes by one word.
func changes() (changed <-chan struct{}, failed <-chan error, stop func(), err error) {
	word, problem, done := make(chan struct{}, 1), make(chan error, 3), make(chan struct{})
	stop = func() { close(done) }
	report := func(err error) {
		select {
		case problem <- fmt.Errorf("the kernel's word of the network's changes: %w", err):
		default:
		}
	}
	links, routes, neighbours := make(chan netlink.LinkUpdate), make(chan netlink.RouteUpdate), make(chan netlink.NeighUpdate)
	err = errors.Join(
		netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{
			ErrorCallback: report, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: true}),
		netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{
			ErrorCallback: report, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: true}),
		netlink.NeighSubscribeWithOptions(neighbours, done, netlink.NeighSubscribeOptions{
			ErrorCallback: report, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: true}))
	if err != nil {
		stop()
		return nil, nil, nil, fmt.Errorf("ask the kernel for word of the network's changes: %w", err)
	}
	go pass(links, word)
	go pass(routes, word)
	go pass(neighbours, word)
	return word, problem, stop, nil
}

// pass ends when the kernel's words do.
func pass[T any](from <-chan T, word chan<- struct{}) {
	for range from {
		select {
		case word <- struct{}{}:
		default:
		}
	}
}

// Settings are the machine's kernel's, without which a connection could not end as it should. The connection table does
// not see what takes the shortcut, so a FIN or RST, which does not take it, is beyond what the table takes for the
// connection's window: it would be invalid, and felix drops what is invalid. There is no such setting of one connection
// that a program may change. Both ends still refuse what is not in their windows.
var Settings = map[string]string{
	"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal":         "1",
	"/proc/sys/net/netfilter/nf_conntrack_tcp_ignore_invalid_rst": "1",
}

// Set makes the settings.
func Set() error {
	for path, value := range Settings {
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("let the connection table accept what it has not followed: %w", err)
		}
	}
	return nil
}

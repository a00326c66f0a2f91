package awsapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// IMDS is the metadata service of one instance, version 2 alone: every question needs a session's token, which is given to a PUT
// that no proxy has passed on, in packets that go no further than HopLimit.
type IMDS struct {
	// HopLimit is the TTL of the packets with a token; 0: 1.
	HopLimit int

	mu      sync.Mutex
	content map[string]string // by the path below /latest/
	tokens  map[string]time.Time
	asked   map[string]int
}

// Describe is what a metadata service says of an instance.
type Describe struct {
	ID, Region, Zone, Account, Image, Type string
	Address                                string
	Profile                                string // the instance profile's name, and its role's
	UserData                               string
	Key                                    Key
	// Document and its signature are what the instance shows to prove which one it is.
	Document, PKCS7 string
}

// Key is what an instance signs its requests to AWS with, for some hours.
type Key struct{ ID, Secret, Token string }

// NewIMDS describes an instance.
func NewIMDS(d Describe) (*IMDS, error) {
	now := time.Now().UTC()
	key, err := json.MarshalIndent(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": now.Format(time.RFC3339), "Expiration": now.Add(6 * time.Hour).Format(time.RFC3339),
		"AccessKeyId": d.Key.ID, "SecretAccessKey": d.Key.Secret, "Token": d.Key.Token,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	host := "ip-" + strings.ReplaceAll(d.Address, ".", "-") + "." + d.Region + ".compute.internal"
	return &IMDS{tokens: map[string]time.Time{}, asked: map[string]int{}, content: map[string]string{
		"user-data":                                       d.UserData,
		"meta-data/ami-id":                                d.Image,
		"meta-data/hostname":                              host,
		"meta-data/local-hostname":                        host,
		"meta-data/instance-id":                           d.ID,
		"meta-data/instance-type":                         d.Type,
		"meta-data/local-ipv4":                            d.Address,
		"meta-data/placement/availability-zone":           d.Zone,
		"meta-data/placement/region":                      d.Region,
		"meta-data/services/domain":                       "amazonaws.com",
		"meta-data/iam/info":                              fmt.Sprintf(`{"Code":"Success","InstanceProfileArn":"arn:aws:iam::%s:instance-profile/%s"}`, d.Account, d.Profile),
		"meta-data/iam/security-credentials/" + d.Profile: string(key),
		"dynamic/instance-identity/document":              d.Document,
		"dynamic/instance-identity/pkcs7":                 d.PKCS7,
		"dynamic/instance-identity/rsa2048":               d.PKCS7,
	}}, nil
}

// Set changes what it says at a path below /latest/.
func (m *IMDS) Set(path, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content[path] = content
}

// Asked is how often it was asked for a path below /latest/, with a token that it took.
func (m *IMDS) Asked(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[path]
}

type connection struct{}

// Serve answers at a listener until stop is called.
func (m *IMDS) Serve(l net.Listener) (stop func()) { return serve(l, m) }

func serve(l net.Listener, h http.Handler) (stop func()) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connection{}, c) }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until Close
	}()
	return func() {
		_ = s.Close()
		<-done
	}
}

const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	tokenTTL    = tokenHeader + "-Ttl-Seconds"
)

// versions are the names that the tree has, besides latest.
var versions = regexp.MustCompile(`^/(latest|20\d\d-\d\d-\d\d)(/.*)?$`)

// ServeHTTP implements http.Handler.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := ""
	if parts := versions.FindStringSubmatch(r.URL.Path); parts != nil {
		path = strings.TrimPrefix(parts[2], "/")
	}
	switch {
	case path == "api/token" && r.Method == http.MethodPut:
		m.session(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
	case !time.Now().Before(m.tokens[r.Header.Get(tokenHeader)]):
		http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
	default:
		m.asked[path]++
		m.answer(w, path)
	}
}

// session gives a token, to who is near.
func (m *IMDS) session(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.Header.Get(tokenTTL))
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "403 - Forbidden", http.StatusForbidden)
		return
	case err != nil || seconds < 1 || seconds > 21600:
		http.Error(w, "400 - Bad Request", http.StatusBadRequest)
		return
	}
	if c, ok := r.Context().Value(connection{}).(net.Conn); ok {
		if err := limitHops(c, max(m.HopLimit, 1)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	token := rand.Text()
	m.tokens[token] = time.Now().Add(time.Duration(seconds) * time.Second)
	w.Header().Set("Connection", "close") // the next question may come from anywhere again
	w.Header().Set(tokenTTL, strconv.Itoa(seconds))
	_, _ = w.Write([]byte(token))
}

// limitHops has packets of a connection die at the n-th machine that passes them on.
func limitHops(c net.Conn, n int) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return errors.New("the metadata service speaks TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, n) }), err)
}

// answer is a file of the tree, or the names in a directory.
func (m *IMDS) answer(w http.ResponseWriter, path string) {
	if content, ok := m.content[path]; ok && content != "" {
		_, _ = w.Write([]byte(content))
		return
	}
	prefix := strings.TrimSuffix(path, "/")
	if prefix != "" {
		prefix += "/"
	}
	var names []string
	for p := range m.content {
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			name, _, deeper := strings.Cut(rest, "/")
			if deeper {
				name += "/"
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		http.Error(w, "404 - Not Found", http.StatusNotFound)
		return
	}
	slices.Sort(names)
	_, _ = w.Write([]byte(strings.Join(slices.Compact(names), "\n")))
}

// ServeEach answers at one listener as the metadata service of each instance that asks, which it is told apart by its address.
func ServeEach(l net.Listener, of func(netip.Addr) *IMDS) (stop func()) {
	return serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		m := of(from.Addr())
		if err != nil || m == nil {
			http.Error(w, "404 - Not Found", http.StatusNotFound)
			return
		}
		m.ServeHTTP(w, r)
	}))
}

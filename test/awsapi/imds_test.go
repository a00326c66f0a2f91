package awsapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/sys/unix"
)

// Without a session's token nothing is said, a token is not for who comes by a proxy, and it is used as curl and AWS's libraries do.
func TestIMDS(t *testing.T) {
	m, err := NewIMDS(Describe{ID: "i-1", Region: "eu-west-1", Address: "10.0.0.7", Profile: "demo-worker", Key: Key{"ASIA1", "s", "t"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Serve(l)()
	ask := func(method, path string, headers ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	const put, token = "/latest/api/token", "/latest/meta-data/instance-id"
	for want, headers := range map[int][]string{
		http.StatusBadRequest: {tokenTTL, "0"}, http.StatusForbidden: {tokenTTL, "60", "X-Forwarded-For", "10.0.0.1"},
	} {
		if got, _ := ask(http.MethodPut, put, headers...); got != want {
			t.Errorf("%v: %d", headers, got)
		}
	}
	for _, headers := range [][]string{{}, {tokenHeader, "made up"}} {
		if got, _ := ask(http.MethodGet, token, headers...); got != http.StatusUnauthorized {
			t.Errorf("%v: %d", headers, got)
		}
	}
	_, session := ask(http.MethodPut, put, tokenTTL, "60")
	for path, want := range map[string]string{
		token: "i-1", "/2021-03-23/meta-data/instance-id": "i-1", "/latest/meta-data/iam/security-credentials/": "demo-worker",
		"/latest/meta-data/placement": "availability-zone\nregion", "/latest/dynamic": "instance-identity/",
	} {
		if status, got := ask(http.MethodGet, path, tokenHeader, session); got != want {
			t.Errorf("%s: %d %q, want %q", path, status, got, want)
		}
	}
	if status, _ := ask(http.MethodGet, "/latest/user-data", tokenHeader, session); status != http.StatusNotFound {
		t.Errorf("user data that there are not: %d", status)
	}
	if n := m.Asked("meta-data/instance-id"); n != 2 {
		t.Errorf("it counts %d questions", n)
	}
}

// A token's packets go as far as the hop limit lets them: to the instance, and not to what is behind it.
func TestHopLimit(t *testing.T) {
	m, err := NewIMDS(Describe{ID: "i-1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for limit, want := range map[int]int{0: 1, 2: 2} {
		m.HopLimit = limit
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), connection{}, c), http.MethodPut, "/latest/api/token", nil)
		r.Header.Set(tokenTTL, "60")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var ttl int
		if e := raw.Control(func(fd uintptr) { ttl, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if w.Code != http.StatusOK || ttl != want {
			t.Errorf("a limit of %d: %d, packets with TTL %d", limit, w.Code, ttl)
		}
	}
}

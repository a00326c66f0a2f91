package identity

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/test/awsapi"
)

func TestDocument(t *testing.T) {
	m, err := awsapi.NewIMDS(awsapi.Describe{ID: "i-1", Region: "eu-west-1", PKCS7: "c2ln\nbmVk\n"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := m.Serve(l)
	defer stop()
	got, err := Document(context.Background(), "http://"+l.Addr().String())
	if err != nil || got != "c2lnbmVk" {
		t.Errorf("%q, %v", got, err)
	}
	m.Set("dynamic/instance-identity/rsa2048", "")
	if _, err := Document(context.Background(), "http://"+l.Addr().String()); err == nil {
		t.Error("a service without a document is believed")
	}
}

// TestDocumentExplains makes the mistakes that instances have: each is told from the others, in time.
func TestDocumentExplains(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and no answer ever comes back
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, test := range map[string]struct {
		answer http.HandlerFunc // nil: none
		says   string
	}{
		"the answer does not come back": {nil, "http_put_response_hop_limit"},
		"it is off":                     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "http_endpoint"},
		"something else answers":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "not EC2's"},
		"it takes no token": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				_, _ = w.Write([]byte("token"))
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
		}, "its own token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := "http://" + silent.Addr().String()
			if test.answer != nil {
				s := httptest.NewServer(test.answer)
				defer s.Close()
				endpoint = s.URL
			}
			began := time.Now()
			_, err := Document(context.Background(), endpoint)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error about %q, got: %v", test.says, err)
			}
			if took := time.Since(began); took > documentTimeout+time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

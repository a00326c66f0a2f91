package awsapi

import (
	"bytes"
	"crypto/hmac"
	"encoding/xml"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Objects are the buckets of a region, for who reads and writes whole objects: a request must be signed, with all of its
// x-amz- headers, and by a key that may.
type Objects struct {
	Region string

	mu      sync.Mutex
	keys    map[string]Key
	objects map[string]object // by bucket/key
	away    bool
	asked   map[string]int
}

// object is in a file or in memory.
type object struct {
	file    string
	content []byte
}

// NewObjects are buckets without objects, for who has one of the keys.
func NewObjects(region string, keys ...Key) *Objects {
	o := &Objects{Region: region, keys: map[string]Key{}, objects: map[string]object{}, asked: map[string]int{}}
	for _, k := range keys {
		o.keys[k.ID] = k
	}
	return o
}

// PutFile has an object be what is in a file.
func (o *Objects) PutFile(name, file string) { o.set(name, object{file: file}) }

// Put has an object, named bucket/key, be some bytes.
func (o *Objects) Put(name string, content []byte) { o.set(name, object{content: content}) }

func (o *Objects) set(name string, what object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects[name] = what
}

// Get is what was put.
func (o *Objects) Get(name string) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	got, ok := o.objects[name]
	return got.content, ok
}

// Away has every request fail, as S3 does when it is overloaded.
func (o *Objects) Away(away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = away
}

// Asked is how often an object was asked for.
func (o *Objects) Asked(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[name]
}

// ServeHTTP implements http.Handler. The bucket is the first label of the host.
func (o *Objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, _, _ := strings.Cut(r.Host, ".")
	name := bucket + r.URL.Path
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	o.asked[name]++
	got, there := o.objects[name]
	away, why := o.away, o.refuse(r, body)
	o.mu.Unlock()
	switch {
	case away:
		refuseObject(w, http.StatusServiceUnavailable, "SlowDown")
	case why != "":
		refuseObject(w, http.StatusForbidden, why)
	case r.Method == http.MethodPut:
		o.Put(name, body)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuseObject(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !there:
		refuseObject(w, http.StatusNotFound, "NoSuchKey")
	case got.file == "":
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(got.content))
	default:
		f, err := os.Open(got.file)
		if err != nil {
			refuseObject(w, http.StatusInternalServerError, "InternalError")
			return
		}
		defer f.Close() // only read
		http.ServeContent(w, r, "", time.Time{}, f)
	}
}

func refuseObject(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	type failure struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	_ = xml.NewEncoder(w).Encode(failure{Code: code, Message: code + ", says the stand-in"}) // to who may be gone
}

// refuse says why a request is not taken: S3's code, or nothing.
func (o *Objects) refuse(r *http.Request, body []byte) string {
	a, ok := parseAuthorization(r.Header.Get("Authorization"))
	key, known := o.keys[a.key]
	said := r.Header.Get("X-Amz-Content-Sha256")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case !ok:
		return "AccessDenied"
	case !known:
		return "InvalidAccessKeyId"
	case err != nil || time.Since(at).Abs() > 15*time.Minute:
		return "RequestTimeTooSkewed"
	case r.Header.Get("X-Amz-Security-Token") != key.Token:
		return "InvalidToken"
	case a.region != o.Region || a.service != "s3":
		return "AuthorizationHeaderMalformed"
	case said != "UNSIGNED-PAYLOAD" && said != digest(body):
		return "XAmzContentSHA256Mismatch"
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(a.headers, name) {
			return "AccessDenied" // "There were headers present in the request which were not signed"
		}
	}
	request := strings.TrimSuffix(canonicalRequest(r, a.headers, nil), digest(nil)) + said
	if !hmac.Equal([]byte(a.signature), []byte(a.sign(key.Secret, r.Header.Get("X-Amz-Date"), request))) {
		return "SignatureDoesNotMatch"
	}
	return ""
}

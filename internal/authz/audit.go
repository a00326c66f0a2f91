package authz

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ReasonABAC begins the reason of what the webhook decides by ABAC. Nothing before it allowed the request.
const ReasonABAC = "ABAC: "

// Observed is a request that somebody made, and how it was decided.
type Observed struct {
	Request
	Allowed bool      `json:"allowed"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
}

// ReadAudit yields the requests of an audit log whose lines have one of some texts in them, such as ReasonABAC. A log is long
// and they are little of it, so other lines are looked at no closer than it takes to see that they are events. A bad line
// is yielded as an Error and what follows it is read, but not the beginning of a line that is being written.
//
// A watch has an event when it starts and one when it ends, which may be in another file or yet to come. Both are
// yielded: to see a request twice does no harm.
//
// Not in the log is what the API server asks on the way of a request: impersonate, escalate, bind, sign.
func ReadAudit(r io.Reader, filename string, about ...string) iter.Seq2[Observed, error] {
	return func(yield func(Observed, error) bool) {
		in := lineReader{r: bufio.NewReaderSize(r, 1<<16)}
		for n := 1; ; n++ {
			text, whole, err := in.next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Observed{}, Error{File: filename, Line: n, Message: err.Error()})
				}
				return
			}
			o, asked, err := readEvent(text, about)
			switch {
			case err != nil && !whole:
			case err != nil:
				if !yield(Observed{}, Error{File: filename, Line: n, Message: err.Error()}) {
					return
				}
			case asked:
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// lineReader reads lines of any length: an event may have a list of all Secrets in it.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

// next returns a line, which is good until the next one, and whether it is whole. After the last one it returns io.EOF.
func (l *lineReader) next() (text []byte, whole bool, err error) {
	l.long = l.long[:0]
	for {
		text, err = l.r.ReadSlice('\n')
		if err == nil && len(l.long) == 0 {
			return text, true, nil
		}
		l.long = append(l.long, text...)
		switch {
		case err == nil:
			return l.long, true, nil
		case errors.Is(err, io.EOF) && len(l.long) > 0:
			return l.long, false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

const auditVersion = "audit.k8s.io/v1"

// event is what counts here of an Event of audit.k8s.io/v1.
type event struct {
	Kind             string
	APIVersion       string
	Verb             string
	RequestURI       string
	User             eventUser
	ImpersonatedUser *eventUser
	ObjectRef        *struct{ Namespace, Name, APIGroup, Resource, Subresource string }
	Received         time.Time `json:"requestReceivedTimestamp"`
	Annotations      struct {
		Decision string `json:"authorization.k8s.io/decision"`
		Reason   string `json:"authorization.k8s.io/reason"`
	}
}

type eventUser struct {
	Username string
	Groups   []string
}

// readEvent returns the request of a line, if it is about any of these.
func readEvent(text []byte, about []string) (o Observed, asked bool, err error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return o, false, nil
	}
	if text[0] != '{' || text[len(text)-1] != '}' || !bytes.Contains(text, []byte(auditVersion)) {
		return o, false, errors.New("is not an Event of " + auditVersion)
	}
	if !slices.ContainsFunc(about, func(a string) bool { return bytes.Contains(text, []byte(a)) }) {
		return o, false, nil
	}
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return o, false, fmt.Errorf("is not JSON: %w", err)
	}
	if e.Kind != "Event" || e.APIVersion != auditVersion {
		return o, false, fmt.Errorf("is a %s of %s, not an Event of %s", e.Kind, e.APIVersion, auditVersion)
	}
	o = Observed{Request: e.request(), Allowed: e.Annotations.Decision == "allow", Reason: e.Annotations.Reason, Time: e.Received}
	return o, true, nil
}

// request is what was authorized: of an impersonated user, if there is one.
func (e *event) request() Request {
	who := &e.User
	if e.ImpersonatedUser != nil {
		who = e.ImpersonatedUser
	}
	q, path := Request{User: who.Username, Groups: who.Groups, Verb: e.Verb}, pathOf(e.RequestURI)
	if e.ObjectRef == nil {
		q.Path = path
		return q
	}
	q.ResourceRequest = true
	q.APIGroup, q.Resource, q.Subresource = e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ObjectRef.Subresource
	q.Namespace, q.Name = e.ObjectRef.Namespace, e.ObjectRef.Name
	// What the path leaves open the log takes from the object that was sent. The authorizer saw the path only.
	if !strings.Contains(path+"/", "/namespaces/"+q.Namespace+"/") {
		q.Namespace = ""
	}
	if q.Verb == "create" && q.Subresource == "" {
		q.Name = ""
	}
	return q
}

func pathOf(uri string) string {
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		path, _, _ := strings.Cut(uri, "?")
		return path
	}
	return u.Path
}

package awsapi

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Bucket is a bucket of S3.
type Bucket struct {
	// Key is the KMS key with which objects must be encrypted: one that comes without saying so is refused, as a policy
	// of the bucket would. Empty: anything goes.
	Key string
	// Settings are what was put as ?versioning, ?encryption, ?policy and the like.
	Settings map[string]string

	objects map[string][]version // by key, the newest last
	made    int                  // versions, ever
}

type version struct {
	id         string
	content    []byte
	header     http.Header // what was said of it, and is said again
	at         time.Time
	etag       string
	isDeletion bool
}

// settings are parts of a bucket's configuration that are kept as they come, and done nothing with, except for versioning.
var settings = []string{"versioning", "encryption", "publicAccessBlock", "policy", "ownershipControls", "lifecycle", "logging", "tagging", "object-lock"}

// Object is what an object holds, if it is there.
func (c *Cloud) Object(bucket, key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.Buckets[bucket]
	if b == nil {
		return nil, false
	}
	v := b.newest(key)
	if v == nil {
		return nil, false
	}
	return slices.Clone(v.content), true
}

// s3 answers what is asked of buckets, by path (/bucket/key) or by host (bucket.s3.region…/key).
func (c *Cloud) s3(w http.ResponseWriter, r *http.Request, body []byte) *problem {
	name, key := c.address(r)
	if name == "" {
		return invalid("InvalidRequest", "which bucket?")
	}
	b := c.Buckets[name]
	if key == "" && r.Method == http.MethodPut && r.URL.RawQuery == "" {
		return c.createBucket(w, name)
	}
	if b == nil {
		return &problem{http.StatusNotFound, "NoSuchBucket", "there is no bucket " + name}
	}
	if key != "" {
		return c.s3Object(w, r, b, key, body)
	}
	for _, s := range settings {
		if r.URL.Query().Has(s) {
			return c.setting(w, r, b, s, body)
		}
	}
	switch {
	case r.Method == http.MethodHead:
		return c.may("s3:ListBucket")
	case r.Method == http.MethodDelete:
		return c.deleteBucket(w, name)
	case r.Method == http.MethodGet && r.URL.Query().Has("versions"):
		return c.listVersions(w, r, b, name)
	case r.Method == http.MethodGet && r.URL.Query().Has("location"):
		writeXML(w, http.StatusOK, struct {
			XMLName xml.Name `xml:"LocationConstraint"`
			Region  string   `xml:",chardata"`
		}{Region: c.Region})
		return nil
	case r.Method == http.MethodGet:
		return c.list(w, r, b, name)
	}
	return &problem{http.StatusNotImplemented, "NotImplemented", r.Method + " " + r.URL.RequestURI()}
}

func (c *Cloud) address(r *http.Request) (bucket, key string) {
	if first, _, dotted := strings.Cut(r.Host, "."); dotted && strings.HasPrefix(r.URL.Path, "/") {
		if _, there := c.Buckets[first]; there {
			return first, strings.TrimPrefix(r.URL.Path, "/")
		}
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return bucket, key
}

func (c *Cloud) createBucket(w http.ResponseWriter, name string) *problem {
	if p := c.may("s3:CreateBucket"); p != nil {
		return p
	}
	if c.Buckets[name] != nil {
		return &problem{http.StatusConflict, "BucketAlreadyOwnedByYou", name}
	}
	if c.Buckets == nil {
		c.Buckets = map[string]*Bucket{}
	}
	c.Buckets[name] = &Bucket{}
	w.Header().Set("Location", "/"+name)
	return nil
}

func (c *Cloud) deleteBucket(w http.ResponseWriter, name string) *problem {
	if p := c.may("s3:DeleteBucket"); p != nil {
		return p
	}
	if len(c.Buckets[name].objects) > 0 {
		return &problem{http.StatusConflict, "BucketNotEmpty", name}
	}
	delete(c.Buckets, name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Cloud) setting(w http.ResponseWriter, r *http.Request, b *Bucket, name string, body []byte) *problem {
	verb := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}[r.Method]
	if p := c.may("s3:" + verb + "Bucket" + strings.ToUpper(name[:1]) + name[1:]); p != nil {
		return p
	}
	switch r.Method {
	case http.MethodPut:
		if b.Settings == nil {
			b.Settings = map[string]string{}
		}
		b.Settings[name] = string(body)
	case http.MethodDelete:
		delete(b.Settings, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		said, there := b.Settings[name]
		if !there {
			return &problem{http.StatusNotFound, "NoSuchConfiguration", name}
		}
		_, _ = w.Write([]byte(said)) // whoever asked is gone
	}
	return nil
}

// versioned tells whether old versions are kept.
func (b *Bucket) versioned() bool { return strings.Contains(b.Settings["versioning"], "<Status>Enabled</Status>") }

// newest is the object that a key has now, or nil.
func (b *Bucket) newest(key string) *version {
	all := b.objects[key]
	if len(all) == 0 || all[len(all)-1].isDeletion {
		return nil
	}
	return &all[len(all)-1]
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
	VersionID    string `xml:"VersionId,omitempty"`
	IsLatest     *bool  `xml:",omitempty"`
}

func (v version) listed(key string) listed {
	return listed{Key: key, LastModified: v.at.UTC().Format("2006-01-02T15:04:05.000Z"), ETag: v.etag, Size: len(v.content)}
}

// list lists objects, all at once.
func (c *Cloud) list(w http.ResponseWriter, r *http.Request, b *Bucket, name string) *problem {
	if p := c.may("s3:ListBucket"); p != nil {
		return p
	}
	out := struct {
		XMLName        xml.Name `xml:"ListBucketResult"`
		Name           string
		Prefix         string
		Delimiter      string `xml:",omitempty"`
		KeyCount       int
		MaxKeys        int
		IsTruncated    bool
		Contents       []listed
		CommonPrefixes []string `xml:"CommonPrefixes>Prefix,omitempty"`
	}{Name: name, Prefix: r.URL.Query().Get("prefix"), Delimiter: r.URL.Query().Get("delimiter"), MaxKeys: 1000}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		v := b.newest(key)
		rest, within := strings.CutPrefix(key, out.Prefix)
		if v == nil || !within {
			continue
		}
		if before, _, deeper := strings.Cut(rest, out.Delimiter); out.Delimiter != "" && deeper {
			if folder := out.Prefix + before + out.Delimiter; !slices.Contains(out.CommonPrefixes, folder) {
				out.CommonPrefixes = append(out.CommonPrefixes, folder)
			}
			continue
		}
		out.Contents = append(out.Contents, v.listed(key))
	}
	out.KeyCount = len(out.Contents) + len(out.CommonPrefixes)
	writeXML(w, http.StatusOK, out)
	return nil
}

func (c *Cloud) listVersions(w http.ResponseWriter, r *http.Request, b *Bucket, name string) *problem {
	if p := c.may("s3:ListBucketVersions"); p != nil {
		return p
	}
	out := struct {
		XMLName      xml.Name `xml:"ListVersionsResult"`
		Name         string
		Prefix       string
		MaxKeys      int
		IsTruncated  bool
		Version      []listed
		DeleteMarker []listed
	}{Name: name, Prefix: r.URL.Query().Get("prefix"), MaxKeys: 1000}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if !strings.HasPrefix(key, out.Prefix) {
			continue
		}
		all := b.objects[key]
		for i, v := range all {
			l := v.listed(key)
			latest := i == len(all)-1
			l.VersionID, l.IsLatest = v.id, &latest
			if v.isDeletion {
				out.DeleteMarker = append(out.DeleteMarker, l)
			} else {
				out.Version = append(out.Version, l)
			}
		}
	}
	writeXML(w, http.StatusOK, out)
	return nil
}

// s3Error is how S3 says that it did not, other than the services that speak in queries.
func s3Error(p *problem) any {
	return struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		RequestID string `xml:"RequestId"`
	}{Code: p.code, Message: p.message, RequestID: "0"}
}

func (b *Bucket) nextID() string {
	b.made++
	if !b.versioned() {
		return "null"
	}
	return fmt.Sprintf("version-%06d", b.made)
}

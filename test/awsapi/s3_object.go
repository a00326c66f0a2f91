package awsapi

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what S3 calls an ETag
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	sseHeader = "X-Amz-Server-Side-Encryption"
	kmsHeader = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
)

func (c *Cloud) s3Object(w http.ResponseWriter, r *http.Request, b *Bucket, key string, body []byte) *problem {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return c.getObject(w, r, b, key)
	case http.MethodPut:
		return c.putObject(w, r, b, key, body)
	case http.MethodDelete:
		return c.deleteObject(w, r, b, key)
	}
	return &problem{http.StatusNotImplemented, "NotImplemented", r.Method + " " + r.URL.RequestURI()}
}

func (c *Cloud) getObject(w http.ResponseWriter, r *http.Request, b *Bucket, key string) *problem {
	if p := c.may("s3:GetObject"); p != nil {
		return p
	}
	v := b.newest(key)
	if id := r.URL.Query().Get("versionId"); id != "" {
		all := b.objects[key]
		v = nil
		if i := slices.IndexFunc(all, func(v version) bool { return v.id == id && !v.isDeletion }); i >= 0 {
			v = &all[i]
		}
	}
	if v == nil {
		return &problem{http.StatusNotFound, "NoSuchKey", "there is no " + key}
	}
	for name, values := range v.header {
		w.Header()[name] = values
	}
	w.Header().Set("ETag", v.etag)
	if b.versioned() {
		w.Header().Set("X-Amz-Version-Id", v.id)
	}
	http.ServeContent(w, r, "", v.at, bytes.NewReader(v.content))
	return nil
}

func (c *Cloud) putObject(w http.ResponseWriter, r *http.Request, b *Bucket, key string, body []byte) *problem {
	if p := c.may("s3:PutObject"); p != nil {
		return p
	}
	if r.URL.RawQuery != "" && r.URL.RawQuery != "x-id=PutObject" || strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		return &problem{http.StatusNotImplemented, "NotImplemented", "uploads in parts"}
	}
	sum := md5.Sum(body) //nolint:gosec // see above
	if said := r.Header.Get("Content-Md5"); said != "" && said != base64.StdEncoding.EncodeToString(sum[:]) {
		return invalid("BadDigest", "Content-MD5 is not that of what came")
	}
	now := b.newest(key)
	if r.Header.Get("If-None-Match") == "*" && now != nil {
		return &problem{http.StatusPreconditionFailed, "PreconditionFailed", key + " is there already"}
	}
	if m := r.Header.Get("If-Match"); m != "" && (now == nil || now.etag != m) {
		return &problem{http.StatusPreconditionFailed, "PreconditionFailed", key + " is another by now"}
	}
	if b.Key != "" && (r.Header.Get(sseHeader) != "aws:kms" || r.Header.Get(kmsHeader) != b.Key) {
		return refusal("AccessDenied", "objects of this bucket must be encrypted with %s", b.Key)
	}
	v := version{id: b.nextID(), content: body, header: http.Header{}, at: time.Now(), etag: `"` + hex.EncodeToString(sum[:]) + `"`}
	for name, values := range r.Header {
		if name == "Content-Type" || name == sseHeader || name == kmsHeader || strings.HasPrefix(name, "X-Amz-Meta-") {
			v.header[name] = values
		}
	}
	b.add(key, v)
	w.Header().Set("ETag", v.etag)
	w.WriteHeader(http.StatusOK)
	return nil
}

// add has a key be a version: the only one, unless old ones are kept.
func (b *Bucket) add(key string, v version) {
	if b.objects == nil {
		b.objects = map[string][]version{}
	}
	if !b.versioned() {
		b.objects[key] = nil
	}
	b.objects[key] = append(b.objects[key], v)
}

func (c *Cloud) deleteObject(w http.ResponseWriter, r *http.Request, b *Bucket, key string) *problem {
	if p := c.may("s3:DeleteObject"); p != nil {
		return p
	}
	id := r.URL.Query().Get("versionId")
	switch {
	case id != "":
		b.objects[key] = slices.DeleteFunc(b.objects[key], func(v version) bool { return v.id == id })
	case b.versioned() && b.newest(key) != nil:
		b.add(key, version{id: b.nextID(), isDeletion: true, at: time.Now()})
	case !b.versioned():
		delete(b.objects, key)
	}
	if len(b.objects[key]) == 0 {
		delete(b.objects, key)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

package awsapi

import (
	"crypto/md5" //nolint:gosec // what S3 calls an ETag
	"encoding/hex"
	"net/http"
	"time"
)

// PutObject has an object be there, whoever put it. It is called within Change.
func (c *Cloud) PutObject(bucket, key string, content []byte) {
	b := c.Buckets[bucket]
	sum := md5.Sum(content) //nolint:gosec // see above
	b.add(key, version{id: b.nextID(), content: content, header: http.Header{}, at: time.Now(), etag: `"` + hex.EncodeToString(sum[:]) + `"`})
}

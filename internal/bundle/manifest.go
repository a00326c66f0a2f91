// Package bundle makes and opens bundles. A bundle is one content-addressed directory with all software of a cluster:
//
//	bin/…  cni/…  images/*.tar  manifest.json
//
// manifest.json lists every file with its digest, and the bundle's own digest is the SHA-256 of manifest.json: a
// machine that is told this one digest can check all of it.
package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
)

const manifestName = "manifest.json"

// Manifest says what a bundle holds. Files are sorted by path, images by name.
type Manifest struct {
	Arch   string  `json:"arch"`
	Files  []File  `json:"files"`
	Images []Image `json:"images"`
}

// File is one file of a bundle. The components of Kubernetes are one file of several names.
type File struct {
	Name      string `json:"name"` // the last element of the path
	Component string `json:"component"`
	Version   string `json:"version"` // of the component, as its go.mod pins it
	Module    string `json:"module"`
	Path      string `json:"path"` // below the bundle
	Mode      string `json:"mode"` // octal permissions
	Size      int64  `json:"size"` // bytes
	SHA256    string `json:"sha256"`
}

// Image is a container image as an OCI archive of the bundle.
type Image struct {
	Name      string `json:"name"`      // pause, coredns, agnhost, ashlar
	Reference string `json:"reference"` // what a pod names: ashlar.dev/pause:3.10
	File      string `json:"file"`      // below the bundle
	SHA256    string `json:"sha256"`    // of File
	Digest    string `json:"digest"`    // of the image's own manifest
	Lazily    bool   `json:"lazily"`    // no part of a cluster's baseline: import it when it is first wanted
}

func (m *Manifest) sort() {
	slices.SortFunc(m.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(m.Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
}

// encode returns the canonical form of the manifest and its digest.
func (m *Manifest) encode() (content []byte, digest string, err error) {
	m.sort()
	content, err = json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, "", err
	}
	content = append(content, '\n')
	return content, sum(content), nil
}

// decode is strict: a manifest may only name files inside the bundle, each once.
func decode(content []byte) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		switch {
		case f.Path != path.Clean(f.Path) || !filepath.IsLocal(f.Path) || f.Path == manifestName:
			return m, fmt.Errorf("%q is no path inside a bundle", f.Path)
		case seen[f.Path]:
			return m, fmt.Errorf("%s is listed twice", f.Path)
		}
		seen[f.Path] = true
	}
	for _, i := range m.Images {
		if !seen[i.File] {
			return m, fmt.Errorf("the file of image %s, %q, is not listed", i.Name, i.File)
		}
	}
	return m, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

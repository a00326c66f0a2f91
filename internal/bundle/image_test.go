package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is big enough for several blocks of the compressor.
var program = bytes.Repeat([]byte("a program, and what it is made of; "), 100_000)

func archiveOf(t *testing.T, r Recipe) []byte {
	t.Helper()
	image, err := r.image(program, "amd64")
	must(t, err)
	file := filepath.Join(t.TempDir(), "image.tar")
	must(t, writeArchive(file, "ashlar.dev/a:1", image))
	content, err := os.ReadFile(file)
	must(t, err)
	return content
}

// The number of cores must make no difference: the compressor works in parallel.
func TestImageIsReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	digests := map[string]bool{}
	for _, cores := range []int{1, 2, 3, 8} {
		runtime.GOMAXPROCS(cores)
		digests[sum(archiveOf(t, Recipe{Binary: "a", Skeleton: true}))] = true
	}
	if len(digests) != 1 {
		t.Errorf("%d different archives of one program", len(digests))
	}
}

func TestArchive(t *testing.T) {
	content := archiveOf(t, Recipe{Binary: "a", User: "65532:65532", Args: []string{"pause"}, Skeleton: true})
	blobs := map[string][]byte{}
	for name, f := range untar(t, bytes.NewReader(content)) {
		blobs[name] = f.content
	}
	var index v1.IndexManifest
	must(t, json.Unmarshal(blobs["index.json"], &index))
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != "ashlar.dev/a:1" {
		t.Errorf("name: %q", got)
	}
	blob := func(h v1.Hash) []byte {
		b, ok := blobs["blobs/sha256/"+h.Hex]
		if !ok || sum(b) != h.Hex {
			t.Errorf("blob %s is not in the archive", h)
		}
		return b
	}
	var manifest v1.Manifest
	must(t, json.Unmarshal(blob(index.Manifests[0].Digest), &manifest))
	var config v1.ConfigFile
	must(t, json.Unmarshal(blob(manifest.Config.Digest), &config))
	if got := blob(manifest.Layers[0].Digest); len(got) > len(program)/2 {
		t.Errorf("the layer is not compressed: %d bytes", len(got))
	}
	want := v1.Config{Entrypoint: []string{"/a"}, Cmd: []string{"pause"}, User: "65532:65532", WorkingDir: "/", Env: []string{"PATH=/"}}
	if !reflect.DeepEqual(config.Config, want) || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("config: %+v", config)
	}
}

func TestLayer(t *testing.T) {
	for _, c := range []struct {
		recipe Recipe
		want   []string
	}{
		{Recipe{Binary: "a"}, []string{"755 a", "755 dev/", "755 etc/", "755 proc/", "755 sys/"}},
		{Recipe{Binary: "a", Skeleton: true}, []string{"1777 tmp/", "644 etc/group", "644 etc/passwd", "755 a", "755 dev/", "755 etc/", "755 proc/", "755 sys/"}},
	} {
		layer, err := c.recipe.layer(program)
		must(t, err)
		var got []string
		for name, f := range untar(t, bytes.NewReader(layer)) {
			got = append(got, fmt.Sprintf("%o %s", f.mode, name))
			if name == "a" && !bytes.Equal(f.content, program) {
				t.Error("the program has changed")
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.recipe, got)
		}
	}
}

type archived struct {
	mode    int64
	content []byte
}

func untar(t *testing.T, from io.Reader) map[string]archived {
	t.Helper()
	files := map[string]archived{}
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		files[h.Name] = archived{h.Mode, content}
	}
}

package simulate

import (
	"strings"
	"testing"

	"ashlar.dev/ashlar/test/aws/schema"
)

// TestNames: what is said of a type is said of attributes that it has.
func TestNames(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for typ, k := range kinds {
		b := s.Resources[typ]
		if b == nil {
			continue
		}
		for path := range strings.FieldsSeq(k.replace + " " + k.late + " " + k.changing) {
			if !has(b, strings.Split(path, ".")) {
				t.Errorf("%s has no %s", typ, path)
			}
		}
		for path := range k.defaults {
			if !has(b, strings.Split(path, ".")) {
				t.Errorf("%s has no %s, which would have a default", typ, path)
			}
		}
	}
}

func has(b *schema.Block, path []string) bool {
	if _, is := b.Attributes[path[0]]; is {
		return len(path) == 1
	}
	n, is := b.Blocks[path[0]]
	return is && (len(path) == 1 || has(n.Block, path[1:]))
}

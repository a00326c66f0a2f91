package simulate

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// World is what there is in the account: objects by type and id. It is a file, apart from any state, so that a test can
// put in what was there before, and change or remove what tofu made. Without a file it lasts as long as the process.
type World struct {
	path string

	mu      sync.Mutex
	objects objects
	given   map[string]bool // ids, by this process
	salt    string
}

// beside begins the types of what AWS makes along with something else, such as a network's first security group.
const beside = "made:"

type objects map[string]map[string]json.RawMessage

// NewWorld is the world in a file, which need not be there yet; or, without a path, an empty one.
func NewWorld(path string) *World {
	w := &World{path: path, objects: objects{}, given: map[string]bool{}}
	if path == "" { // nothing tells what ids are taken
		w.salt = rand.Text()
	}
	return w
}

// change reads the world, has it changed, and writes it. Processes wait for one another.
func (w *World) change(do func(objects) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.path == "" {
		return do(w.objects)
	}
	lock, err := os.OpenFile(w.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	all := objects{}
	switch text, err := os.ReadFile(w.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("reading the objects of %s: %w", w.path, err)
		}
	}
	if err := do(all); err != nil {
		return err
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	next := w.path + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Clean(w.path))
}

// put adds or replaces an object.
func (w *World) put(typ, id string, v cty.Value) error {
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return err
	}
	return w.change(func(all objects) error {
		if all[typ] == nil {
			all[typ] = map[string]json.RawMessage{}
		}
		all[typ][id] = text
		return nil
	})
}

// remove removes an object, and what came with it: what is beside others names it by its id or, a group, by its name.
func (w *World) remove(typ, id, name string) error {
	return w.change(func(all objects) error {
		delete(all[typ], id)
		for kind, members := range all {
			if !strings.HasPrefix(kind, beside) {
				continue
			}
			maps.DeleteFunc(members, func(_ string, text json.RawMessage) bool {
				var of struct {
					VPC   string `json:"vpc_id"`
					Group string `json:"group"`
				}
				return json.Unmarshal(text, &of) == nil && (typ == "aws_vpc" && of.VPC == id || typ == "aws_autoscaling_group" && of.Group == name)
			})
		}
		return nil
	})
}

// get returns an object; attributes that whoever wrote it left out are null.
func (w *World) get(typ, id string, t cty.Type) (cty.Value, error) {
	found := cty.NullVal(t)
	err := w.change(func(all objects) (err error) {
		if text, there := all[typ][id]; there {
			found, err = lenient(text, t)
		}
		return err
	})
	return found, err
}

// all returns the objects of a type, in the order of their ids.
func (w *World) all(typ string, t cty.Type) ([]cty.Value, error) {
	var found []cty.Value
	err := w.change(func(all objects) error {
		for _, id := range slices.Sorted(maps.Keys(all[typ])) {
			v, err := lenient(all[typ][id], t)
			if err != nil {
				return fmt.Errorf("%s %s: %w", typ, id, err)
			}
			found = append(found, v)
		}
		return nil
	})
	return found, err
}

// read returns what became of an object: null if it is gone. A world without a file forgot what it made.
func (w *World) read(typ string, current cty.Value) (cty.Value, error) {
	if w.path == "" || current.IsNull() {
		return current, nil
	}
	return w.get(typ, current.GetAttr("id").AsString(), current.Type())
}

func lenient(text []byte, t cty.Type) (cty.Value, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return cty.NilVal, err
	}
	values := map[string]cty.Value{}
	for name, ft := range t.AttributeTypes() {
		if text, there := fields[name]; there {
			v, err := ctyjson.Unmarshal(text, ft)
			if err != nil {
				return cty.NilVal, fmt.Errorf("%s: %w", name, err)
			}
			values[name] = v
			continue
		}
		values[name] = cty.NullVal(ft)
		if ft.IsListType() || ft.IsSetType() { // blocks are never null
			values[name] = empty(ft)
		}
	}
	return cty.ObjectVal(values), nil
}

// has tells whether there is an object of which an attribute is that.
func (w *World) has(typ, by, what string) (found bool, err error) {
	err = w.change(func(all objects) error {
		for _, texts := range []map[string]json.RawMessage{all[typ], all[beside+typ]} {
			for _, text := range texts {
				var fields map[string]any
				if err := json.Unmarshal(text, &fields); err != nil {
					return err
				}
				found = found || fields[by] == what
			}
		}
		return nil
	})
	return found, err
}

// fresh makes up the digits of a new object's id: the same for the same object in the same world, so that what is printed
// of one run can be compared with another's.
func (w *World) fresh(typ, seed string, digits int) string {
	return w.untaken(func(n int) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", w.salt, typ, seed, n))
		return hex.EncodeToString(sum[:])[:digits]
	})
}

// untaken is the first of some ids or addresses that nothing has.
func (w *World) untaken(candidate func(int) string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	there, _ := os.ReadFile(w.path) // what earlier processes made, if any
	for n := 0; ; n++ {
		made := candidate(n)
		if !w.given[made] && !bytes.Contains(there, []byte(made+`"`)) {
			w.given[made] = true
			return made
		}
	}
}

package phase

import (
	"errors"
	"strings"
	"testing"
)

func TestMembership(t *testing.T) {
	for _, c := range []struct {
		left, lost, declared int
		want                 string
		input                bool
	}{
		{1, 0, 1, "", false},
		{3, 0, 3, "", false},
		{2, 1, 3, "", false},
		{3, 2, 5, "", false},
		{1, 2, 3, "restore", false},
		{0, 3, 3, "restore", false},
		{0, 1, 1, "restore", false},
		{1, 1, 2, "restore", false},
		{1, 0, 3, "decided when a cluster is created", true}, // three were never there
		{3, 0, 1, "decided when a cluster is created", true},
	} {
		err := membership("etcd", c.left, c.lost, c.declared)
		var input InputError
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.Contains(err.Error(), c.want), errors.As(err, &input) != c.input:
			t.Errorf("%d left and %d lost of %d: %v", c.left, c.lost, c.declared, err)
		}
	}
}

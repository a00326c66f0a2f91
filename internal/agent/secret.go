package agent

import (
	"errors"
	"os"
	"path/filepath"

	"ashlar.dev/ashlar/internal/unit"
)

// forgetSecrets removes what was a unit's secret before a rotation. Processes have read theirs when they started.
func forgetSecrets(units []unit.Unit) error {
	wanted := map[string]bool{}
	for _, u := range units {
		for _, s := range u.Secrets {
			wanted[s.Path] = true
		}
	}
	have, err := filepath.Glob(unit.SecretFiles)
	errs := []error{err}
	for _, path := range have {
		if !wanted[path] {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

package main

import (
	"encoding/json"
	"fmt"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// renewal has every machine lose its certificates, and measures until each has others: what a renewal takes of all of
// them at once, from noticing to using.
func renewal(file string, sample func(string, float64)) error {
	before, err := serials(file)
	if err != nil {
		return err
	}
	machines := map[string]bool{}
	for c := range before {
		machines[c.Machine] = true
	}
	began := time.Now()
	for m := range machines {
		if _, _, err := ashlar(file, "exec", m, "--", "find", unit.PKIDir, "-name", "*.crt", "!", "-name", "ca.crt", "-delete"); err != nil {
			return err
		}
	}
	for time.Since(began) < timeout {
		now, err := serials(file)
		if err != nil {
			return err
		}
		old := 0
		for c, serial := range before {
			if now[c] == serial || now[c] == "" {
				old++
			}
		}
		if old == 0 {
			sample("renewal", time.Since(began).Seconds())
			return nil
		}
	}
	return fmt.Errorf("not all of %d certificates were renewed within %s", len(before), timeout)
}

// certificate is one in use on a machine.
type certificate struct{ CA, Name, Machine string }

func serials(file string) (map[certificate]string, error) {
	out, _, err := ashlar(file, "pki", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var all []struct {
		certificate
		Serial string
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("read what pki list answered: %w", err)
	}
	serials := map[certificate]string{}
	for _, c := range all {
		if c.Machine != "" && c.Name != "host-key" { // which stays
			serials[c.certificate] = c.Serial
		}
	}
	return serials, nil
}

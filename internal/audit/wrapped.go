package audit

import (
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Hidden says that a certificate was issued which the log does not have.
func (e Event) Hidden() bool {
	return e.Kind == Issued && e.Refused == "" && e.Wrapped && e.Certificate == ""
}

// Concealed are the CAs of which certificates were issued that the log does not have.
func Concealed(events []Event) map[unit.CA]bool {
	out := map[unit.CA]bool{}
	for _, e := range events {
		if e.Hidden() {
			out[e.CA] = true
		}
	}
	return out
}

// sameMoment is how much later than it was signed a certificate may be in the log, which has it when it was answered.
const sameMoment = 5 * time.Second

// Reveal gives events that lack it the certificate that Vault keeps: one (PEM) that the log does not name, of the same CA, of
// the name that was asked for, and of the nearest moment before. backdating is how far Vault sets a certificate's beginning back.
func Reveal(events []Event, kept map[unit.CA][]string, backdating time.Duration) {
	named := map[string]bool{}
	for _, e := range events {
		if e.Kind == Issued && e.Serial != "" {
			named[string(e.CA)+" "+PlainSerial(e.Serial)] = true
		}
	}
	for i := range events {
		if e := &events[i]; e.Hidden() {
			e.Certificate = nearest(*e, kept[e.CA], named, backdating)
			e.describe()
			named[string(e.CA)+" "+PlainSerial(e.Serial)] = true
		}
	}
}

func nearest(e Event, kept []string, named map[string]bool, backdating time.Duration) string {
	found, least := "", sameMoment
	for _, text := range kept {
		c := parseCertificate(text)
		if c == nil || c.IsCA || c.Subject.CommonName != e.Name || named[string(e.CA)+" "+PlainSerial(Colons(c))] {
			continue
		}
		if later := e.Time.Sub(c.NotBefore.Add(backdating)); later >= 0 && later < least {
			found, least = text, later
		}
	}
	return found
}

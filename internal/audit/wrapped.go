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

// sameMoment is how far a certificate's own time may be from that of the log, which has it when it was answered.
const sameMoment = 5 * time.Second

// Reveal gives events that lack it the certificate that Vault keeps: one (PEM) that the log does not name, of the same CA and
// moment. backdating is how far Vault sets a certificate's beginning back.
func Reveal(events []Event, kept map[unit.CA][]string, backdating time.Duration) {
	named := map[string]bool{}
	for _, e := range events {
		if e.Kind == Issued && e.Serial != "" {
			named[string(e.CA)+" "+PlainSerial(e.Serial)] = true
		}
	}
	for i := range events {
		e := &events[i]
		if !e.Hidden() {
			continue
		}
		for _, text := range kept[e.CA] {
			c := parseCertificate(text)
			if c == nil || c.IsCA {
				continue
			}
			key := string(e.CA) + " " + PlainSerial(Colons(c))
			if away := c.NotBefore.Add(backdating).Sub(e.Time).Abs(); named[key] || away > sameMoment {
				continue
			}
			named[key] = true
			e.Certificate = text
			e.describe()
			break
		}
	}
}

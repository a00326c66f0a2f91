package audit

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/unit"
)

// ssh is the signing of an SSH key. Its serial number and its name are those that sshd writes to its own log.
func (e Event) ssh(l Line, rest string) (Event, bool) {
	engine, what, _ := strings.Cut(rest, "/")
	ca, _, _ := strings.Cut(engine, "-") // a successor's has a name of its own after it
	verb, role, _ := strings.Cut(what, "/")
	changes := l.Request.Operation == "update" || l.Request.Operation == "create" || l.Request.Operation == "delete"
	e.CA = unit.CA("ssh-" + ca)
	switch {
	case !changes:
		return e, false
	case verb == "sign", verb == "issue":
		e.Kind, e.Profile = SSH, role
	case verb == "config":
		e.Kind = CA
		return e, true
	default:
		return e, false
	}
	if asked := plain(l.Request.Data.Principals); asked != "" {
		e.Names = strings.Split(asked, ",")
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(plain(l.Response.Data.SignedKey)))
	if err != nil {
		return e, true // refused
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return e, true
	}
	until := time.Unix(int64(cert.ValidBefore), 0).UTC()
	e.Serial, e.Name, e.Names, e.NotAfter = strconv.FormatUint(cert.Serial, 10), cert.KeyId, cert.ValidPrincipals, &until
	return e, true
}

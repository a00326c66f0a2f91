package unit

import (
	"encoding/binary"
	"slices"
)

// SSHKeyID is what Vault calls a user in a certificate, and sshd in its log.
func SSHKeyID(cluster, user string) string { return cluster + "-users-" + user }

// SSHRobotID is the same of a robot.
func SSHRobotID(cluster, robot string) string { return cluster + "-robots-" + robot }

// Of OpenSSH's PROTOCOL.krl.
const (
	krlMagic            = 0x5353484b524c0a00
	krlVersion          = 1
	krlCertificates     = 1
	krlCertificateKeyID = 0x23
)

// revokedIDs is what certificates call the users that were revoked.
func revokedIDs(cluster string, revoked []Revocation) []string {
	var ids []string
	for _, r := range revoked {
		if r.User != "" {
			ids = append(ids, SSHKeyID(cluster, r.User), SSHRobotID(cluster, r.User)) // names are one or the other's
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// revokedKeys lists the users whose certificates sshd refuses, whichever CA signed them, as a key revocation list. It is the same
// bytes each time.
func revokedKeys(cluster string, revoked []Revocation) []byte {
	ids := revokedIDs(cluster, revoked)
	list := binary.BigEndian.AppendUint64(nil, krlMagic)
	list = binary.BigEndian.AppendUint32(list, krlVersion)
	list = append(list, make([]byte, 3*8)...) // its version, date and flags
	list = krlText(krlText(list, nil), nil)   // reserved; a comment
	if len(ids) == 0 {
		return list
	}
	var users []byte
	for _, id := range ids {
		users = krlText(users, []byte(id))
	}
	section := krlText(krlText(nil, nil), nil) // of any CA; reserved
	section = krlText(append(section, krlCertificateKeyID), users)
	return krlText(append(list, krlCertificates), section)
}

// krlText appends bytes with their length before them.
func krlText(list, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(list, uint32(len(b))), b...)
}

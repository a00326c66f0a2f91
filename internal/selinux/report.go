package selinux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Report is what a machine says of SELinux on it.
type Report struct {
	State
	Processes []Process `json:"processes,omitempty"` // of containers
	Denials   []Denial  `json:"denials,omitempty"`
}

// auditLog is auditd's, where the machine has one.
const auditLog = "/var/log/audit/audit.log"

// Look reads what is so on this machine.
func Look() (Report, error) {
	s, err := Read("/")
	if err != nil || s.Mode == Absent {
		return Report{State: s}, err
	}
	r := Report{State: s}
	if r.Processes, err = Processes("/proc"); err != nil {
		return r, fmt.Errorf("look at processes: %w", err)
	}
	log, err := denials()
	if err != nil {
		return r, fmt.Errorf("read what SELinux refused: %w", err)
	}
	r.Denials = Denials(log)
	return r, nil
}

// denials is auditd's log, or the kernel's own, where what nobody takes from it ends up.
func denials() (string, error) {
	b, err := os.ReadFile(auditLog)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(b), err
	}
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return "", err
	}
	buffer := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buffer)
	return string(buffer[:max(n, 0)]), err
}

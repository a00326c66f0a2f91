package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ashlar.dev/ashlar/internal/provider"
)

// hostLinks are the links into /usr that machines share with a host whose /usr is merged.
var hostLinks = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// directories of a machine's disk, besides /etc. Parents come first.
var directories = []struct {
	path string
	mode fs.FileMode
}{
	{"usr", 0o755}, {"proc", 0o555}, {"sys", 0o555}, {"dev", 0o755}, {"run", 0o755}, {"tmp", 0o755},
	{"root", 0o700}, {"mnt", 0o755}, {"opt", 0o755}, {"opt/ashlar", 0o755}, {"opt/ashlar/bundle", 0o755},
	{"var", 0o755}, {"var/lib", 0o755}, {"var/lib/haproxy", 0o755}, {"var/log", 0o755}, {"var/cache", 0o755}, {"var/spool", 0o755},
	{"var/tmp", 0o777 | fs.ModeSticky},
}

// etc are the host's files that a machine gets a copy of: what programs under /usr need, and nothing that is secret.
var etc = []string{
	"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "protocols", "services",
	"ssl/certs/ca-certificates.crt", "ssl/openssl.cnf", "iproute2", "debian_version", "localtime",
}

// makeRootfs gives the machine a disk with the files, all at once.
func (p *Provider) makeRootfs(ctx context.Context, name string, files []provider.File) error {
	unfinished := p.rootfs(name) + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(unfinished)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := populate(name, unfinished); err != nil {
		return fmt.Errorf("machine %s: make its disk: %w", name, err)
	}
	if err := writeFiles(ctx, name, root, files); err != nil {
		return err
	}
	return os.Rename(unfinished, p.rootfs(name))
}

func populate(name, root string) error {
	for _, d := range directories {
		if err := os.Mkdir(filepath.Join(root, d.path), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(root, d.path), d.mode); err != nil { // whatever the umask
			return err
		}
	}
	for _, link := range hostLinks {
		if target, err := os.Readlink("/" + link); err == nil {
			if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
				return err
			}
		}
	}
	for link, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			return err
		}
	}
	return populateEtc(name, filepath.Join(root, "etc"))
}

func populateEtc(name, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "ssl/certs"), 0o755); err != nil {
		return err
	}
	for _, f := range etc {
		if err := copyTree(filepath.Join("/etc", f), filepath.Join(dir, f)); err != nil {
			return fmt.Errorf("copy /etc/%s: %w", f, err)
		}
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	for file, content := range map[string]string{
		"passwd":      systemAccounts(string(passwd)),
		"group":       systemAccounts(string(group)),
		"hostname":    name + "\n",
		"hosts":       "127.0.0.1 localhost\n127.0.1.1 " + name + "\n",
		"resolv.conf": "# Machines know each other by /etc/hosts.\n",
		"machine-id":  hex.EncodeToString(id) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"mtab": "../proc/self/mounts", "os-release": "../usr/lib/os-release"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	return nil
}

// systemAccounts leaves out the people of the host: ids 1000 to 59999, by Debian's policy.
func systemAccounts(database string) string {
	var b strings.Builder
	for line := range strings.Lines(database) {
		fields := strings.Split(line, ":")
		if len(fields) < 3 {
			continue
		}
		if id, err := strconv.Atoi(fields[2]); err == nil && (id < 1000 || id >= 60000) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// copyTree copies regular files, links and directories. What the host lacks is left out, as are manual pages.
func copyTree(from, to string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case strings.HasSuffix(path, ".gz"): // a manual page's alternative
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, b, 0o644)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

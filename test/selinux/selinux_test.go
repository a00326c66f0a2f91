// Package selinux boots a machine whose kernel enforces SELinux, under software emulation, and has the agent bring up containerd in it.
package selinux

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed image.sh
var recipe []byte

// bootTimeout bounds the guest's whole life: it takes about two minutes on two cores that do nothing else.
const bootTimeout = 14 * time.Minute

func TestSELinux(t *testing.T) {
	bundle := os.Getenv("ASHLAR_TEST_BUNDLE")
	if bundle == "" {
		t.Skip("no bundle: run `make selinux`")
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	began := time.Now()
	image := base(ctx, t)
	disk := software(ctx, t, bundle)
	t.Logf("disks are there after %.0f s", time.Since(began).Seconds())

	results, console := filepath.Join(t.TempDir(), "results"), filepath.Join(t.TempDir(), "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072",
		"-nographic", "-nodefaults", "-no-reboot", "-nic", "none",
		"-kernel", filepath.Join(image, "vmlinuz"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "root=/dev/vda rw security=selinux console=ttyS0 panic=-1 sysrq_always_enabled quiet "+
			"systemd.default_timeout_start_sec=600 systemd.default_device_timeout_sec=600",
		"-drive", "file="+filepath.Join(image, "disk.ext4")+",format=raw,if=virtio,snapshot=on",
		"-drive", "file="+disk+",format=raw,if=virtio,snapshot=on",
		"-serial", "file:"+console, "-serial", "file:"+results)
	out, err := cmd.CombinedOutput()
	t.Logf("the guest was off after %.0f s", time.Since(began).Seconds())
	said, _ := os.ReadFile(results)
	report(t, said)
	if err != nil || t.Failed() {
		last, _ := os.ReadFile(console)
		t.Fatalf("qemu: %v %s; the console's last words:\n%s", err, out, last[max(0, len(last)-4000):])
	}
}

// report has a test for each check of the guest's. It exits with 0 whatever happened in it: the last line says that all was tried.
func report(t *testing.T, said []byte) {
	t.Helper()
	ended := false
	lines := bufio.NewScanner(bytes.NewReader(said))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(strings.TrimRight(lines.Text(), "\r"), "\t")
		switch {
		case fields[0] == "done":
			ended = true
			t.Log(fields[1])
		case len(fields) == 4 && (fields[0] == "ok" || fields[0] == "FAIL"):
			t.Run(fields[1], func(t *testing.T) {
				if t.Logf("in %s s", fields[2]); fields[0] == "FAIL" {
					t.Error(fields[3])
				}
			})
		default:
			t.Log(lines.Text())
		}
	}
	if !ended {
		t.Error("the guest did not come to its end")
	}
}

// base is the disk that boots, made once for each recipe.
func base(ctx context.Context, t *testing.T) string {
	t.Helper()
	cache := os.Getenv("ASHLAR_CACHE")
	if cache == "" {
		cache = "/var/cache/ashlar"
	}
	sum := sha256.Sum256(recipe)
	dir := filepath.Join(cache, "guests", hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, "bash", "image.sh", dir)
	return dir
}

// software is a disk with the bundle, and with what tries it.
func software(ctx context.Context, t *testing.T, bundle string) string {
	t.Helper()
	root := t.TempDir()
	for _, file := range []string{"bin/ashlar", "bin/containerd", "bin/containerd-shim-runc-v2", "bin/runc", "bin/ctr",
		"cni/loopback", "cni/ptp", "cni/host-local", "images/pause.tar", "images/coredns.tar", "images/ashlar.tar"} {
		to := filepath.Join(root, "bundle", file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		run(ctx, t, "cp", "--reflink=auto", filepath.Join(bundle, file), to)
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(root, "guest"), "./guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build what runs in the guest: %v\n%s", err, out)
	}
	disk := filepath.Join(t.TempDir(), "software.ext4")
	run(ctx, t, "truncate", "--size=1G", disk)
	run(ctx, t, "mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, disk)
	return disk
}

func run(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out))
	}
}

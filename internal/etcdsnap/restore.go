package etcdsnap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Restore replaces a member's data directory by what a snapshot makes of it. The member must not run. command returns the
// program that makes a directory of a snapshot's file. Until the last moment the old directory is untouched.
func Restore(ctx context.Context, dataDir string, snapshot io.Reader, command func(snapshot, into string) []string) error {
	file, made := dataDir+".snapshot", dataDir+".restored"
	defer os.Remove(file)
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o700); err != nil {
		return err
	}
	if err := receive(file, snapshot); err != nil {
		return fmt.Errorf("receive the snapshot into %s: %w", file, err)
	}
	if err := os.RemoveAll(made); err != nil { // of an earlier attempt
		return err
	}
	args := command(file, made)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make a data directory of the snapshot: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	if err := os.RemoveAll(dataDir); err != nil {
		return fmt.Errorf("remove what was in %s: %w", dataDir, err)
	}
	return os.Rename(made, dataDir)
}

func receive(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

package agent

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

const (
	hostsFile  = "/etc/hosts"
	hostsBegin = "# ashlar: machines of the cluster\n"
	hostsEnd   = "# ashlar: end\n"
)

// writeHosts tells the machine the names of the others. On a machine of the local provider all of the file is ours; in a cloud
// its image has a file of its own, and ours are some lines of it.
func writeHosts(path string, d unit.Desired) error {
	content := d.Hosts()
	if d.Region != "" {
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if content = among(string(have), content); content == string(have) {
			return nil
		}
	}
	return writeFile(path, []byte(content), 0o644)
}

// among puts our lines into somebody's file, in the place of those that are there.
func among(have, ours string) string {
	before, rest, _ := strings.Cut(have, hostsBegin)
	_, after, _ := strings.Cut(rest, hostsEnd)
	if before != "" && !strings.HasSuffix(before, "\n") {
		before += "\n"
	}
	return before + hostsBegin + ours + hostsEnd + after
}

package aws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestUserData: whatever machines are told at their first boot, cloud-init understands, and bash what of it is a script.
func TestUserData(t *testing.T) {
	cloudInit, err := exec.LookPath("cloud-init")
	if err != nil {
		t.Skip("cloud-init is not installed")
	}
	vars := read(t, "aws-ha")
	m := start(t, vars)
	v := planView(vars, planned(t, m, vars))
	scripts := map[string]int{}
	for _, r := range v.of("aws_instance", "aws_launch_template") {
		said := []byte(text(r, "user_data"))
		if r.Type == "aws_launch_template" {
			if said, err = base64.StdEncoding.DecodeString(string(said)); err != nil {
				t.Fatal(err)
			}
		}
		for _, part := range parts(t, said) {
			file := filepath.Join(t.TempDir(), "user-data")
			if err := os.WriteFile(file, part, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), cloudInit, "schema", "--config-file", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", r.Address, err, out)
			}
			for path, content := range files(t, part) {
				switch {
				case strings.HasPrefix(content, "#!/bin/bash\n"):
					scripts[path]++
					check := exec.CommandContext(t.Context(), "bash", "-n")
					check.Stdin = strings.NewReader(content)
					if out, err := check.CombinedOutput(); err != nil {
						t.Errorf("%s: %s: %s", r.Address, path, out)
					}
				case strings.HasSuffix(path, "/jenkins.yaml"):
					scripts[path]++
					pipeline(t, content)
				}
			}
		}
	}
	for _, path := range []string{"/opt/ashlar/libexec/bundle", "/opt/jenkins/install", "/opt/foreman/install", "/etc/jenkins/jenkins.yaml"} {
		if scripts[path] == 0 {
			t.Errorf("no machine has %s", path)
		}
	}
}

// parts are the documents of user data.
func parts(t *testing.T, said []byte) [][]byte {
	t.Helper()
	if bytes.HasPrefix(said, []byte("#cloud-config\n")) {
		return [][]byte{said}
	}
	message, err := mail.ReadMessage(bytes.NewReader(said))
	if err != nil {
		t.Fatal(err)
	}
	_, with, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for all := multipart.NewReader(message.Body, with["boundary"]); ; {
		part, err := all.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(out) > 0 && part.Header.Get("Merge-Type") == "" {
			t.Error("a further part takes the place of the first's files and commands")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, content)
	}
}

// files are those that a part writes.
func files(t *testing.T, part []byte) map[string]string {
	t.Helper()
	var config struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
	}
	if err := yaml.Unmarshal(part, &config); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range config.Files {
		out[f.Path] = f.Content
	}
	return out
}

// pipeline holds Jenkins' configuration to what it is there for: nothing comes up that nobody approved.
func pipeline(t *testing.T, configuration string) {
	t.Helper()
	var config struct {
		Jobs    []struct{ Script string }
		Jenkins struct {
			AuthorizationStrategy map[string]struct {
				AllowAnonymousRead *bool `yaml:"allowAnonymousRead"`
			} `yaml:"authorizationStrategy"`
			SecurityRealm struct {
				Local struct {
					AllowsSignup *bool `yaml:"allowsSignup"`
					Users        []struct{ Password string }
				}
			} `yaml:"securityRealm"`
		}
	}
	if err := yaml.Unmarshal([]byte(configuration), &config); err != nil {
		t.Fatal(err)
	}
	realm := config.Jenkins.SecurityRealm.Local
	if realm.AllowsSignup == nil || *realm.AllowsSignup || len(realm.Users) != 1 || !strings.HasPrefix(realm.Users[0].Password, "${readFile:") {
		t.Errorf("who may log in to Jenkins: %+v", realm)
	}
	for _, s := range config.Jenkins.AuthorizationStrategy {
		if s.AllowAnonymousRead == nil || *s.AllowAnonymousRead {
			t.Error("anybody may read Jenkins")
		}
	}
	if len(config.Jobs) != 1 {
		t.Fatalf("there are %d jobs, want 1", len(config.Jobs))
	}
	job := config.Jobs[0].Script
	plan, approve, up := strings.Index(job, "ashlar plan -f"), strings.Index(job, "input message:"), strings.Index(job, "ashlar up -f")
	if plan < 0 || approve < plan || up < approve {
		t.Errorf("the pipeline is not plan, approve, up: %d, %d, %d", plan, approve, up)
	}
	if strings.Contains(job, "${") {
		t.Error("the pipeline has a variable that Jenkins' configuration would take for its own")
	}
	if strings.Count(job, "{") != strings.Count(job, "}") {
		t.Error("a brace of the pipeline's is not closed")
	}
}

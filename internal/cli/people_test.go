package cli

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]struct{ user, own, group bool }{
		"alice":           {true, true, true},
		"alice.smith-2":   {true, true, true},
		"provider:alice":  {true, false, false},
		"provider:A @ b/": {true, false, false}, // is the provider's business
		"provider:":       {false, false, false},
		"system:admin":    {false, false, false},
		"ashlar:x":        {false, false, false},
		"Alice":           {false, false, false},
		"../alice":        {false, false, false},
		"admin":           {false, false, true},
		"":                {false, false, false},
	} {
		for what, c := range map[string]struct {
			err  error
			want bool
		}{
			"user": {checkName("user", name), want.user}, "own user": {checkOwnName("user", name), want.own}, "group": {checkName("group", name), want.group},
		} {
			if (c.err == nil) != c.want {
				t.Errorf("%q as the name of a %s: %v", name, what, c.err)
			}
		}
	}
}

// TestLoginFlags: what does not go together is refused before anything is asked.
func TestLoginFlags(t *testing.T) {
	for args, want := range map[string]string{
		"login":                                  "accepts 1 arg(s)",
		"login alice --provider":                 "alice",
		"login provider:alice":                   "cannot be the name",
		"login ci --secret-stdin":                "--secret-stdin is for --robot",
		"login ci --robot --password-stdin":      "--password-stdin is for people",
		"login --robot --provider":               "three different things",
		"login ci --robot --credential":          "three different things",
		"login --provider --secret-stdin":        "--secret-stdin is for --robot",
		"user set provider:alice --group admins": "cannot be the name",
		"user robot-secret ci":                   "there is no robot",
		"user provider-secret --secret-stdin":    "there is none",
		"login --provider":                       "there is none",
	} {
		_, stderr, code := run(append(strings.Fields(args), "-f", clusterFile(t))...)
		if code != ExitInput || !strings.Contains(stderr, want) {
			t.Errorf("ashlar %s: exit %d: %s", args, code, stderr)
		}
	}
}

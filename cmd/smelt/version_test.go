package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	system := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	commit := []debug.BuildSetting{
		{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
	}
	module := debug.Module{Version: "v1.2.3"}
	for _, c := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"no build information", nil, "smelt unknown, " + system},
		{"no version", &debug.BuildInfo{}, "smelt unknown, " + system},
		{"release", &debug.BuildInfo{Main: module}, "smelt v1.2.3, " + system},
		{"commit", &debug.BuildInfo{Main: module, Settings: commit}, "smelt v1.2.3, commit 0123456789ab of 2026-01-02T03:04:05Z, " + system},
		{
			"changed commit with tags",
			&debug.BuildInfo{Main: module, Settings: append(commit, debug.BuildSetting{Key: "vcs.modified", Value: "true"}, debug.BuildSetting{Key: "-tags", Value: "cuda"})},
			"smelt v1.2.3, commit 0123456789ab of 2026-01-02T03:04:05Z with changes, " + system + ", tags cuda",
		},
		{"short revision", &debug.BuildInfo{Main: module, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "42"}}}, "smelt v1.2.3, commit 42, " + system},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := versionOf(c.info).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestVersionCommand(t *testing.T) {
	plain := smelt(t, "", "version").succeeds(t)
	if !strings.HasPrefix(plain, "smelt ") || strings.Count(plain, "\n") != 1 || !strings.Contains(plain, runtime.Version()) {
		t.Errorf("got %q", plain)
	}
	var r versionReport
	if err := json.Unmarshal([]byte(smelt(t, "", "version", "--json").succeeds(t)), &r); err != nil {
		t.Fatal(err)
	}
	if r.Go != runtime.Version() || r.OS != runtime.GOOS || r.Arch != runtime.GOARCH || plain != r.String()+"\n" {
		t.Errorf("JSON says %+v, text %q", r, plain)
	}
	smelt(t, "", "version", "now").fails(t, "expected no arguments, got 1", "smelt version --help")
}

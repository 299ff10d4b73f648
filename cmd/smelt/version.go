package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionReport is the output of `smelt version --json`.
type versionReport struct {
	Version  string `json:"version"`        // the module's; "(devel)" when built from a working tree without tags
	Revision string `json:"revision"`       // the commit, "" if the build does not know it
	Time     string `json:"time"`           // the commit's, RFC 3339, or ""
	Modified bool   `json:"modified"`       // there were changes beyond the commit
	Go       string `json:"go"`             // the toolchain
	OS       string `json:"os"`             // as Go names it
	Arch     string `json:"arch"`           // as Go names it
	Tags     string `json:"tags,omitempty"` // build tags
}

func newVersion(io stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of smelt",
		Long:  `Version prints the version and commit smelt was built from, the Go release that built it, and the system it was built for.`,
		Example: `  smelt version
  smelt version --json | jq -r .revision`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("expected no arguments, got %d (see %s --help)", len(args), cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			report := thisVersion()
			if asJSON {
				return json.NewEncoder(io.out).Encode(report)
			}
			_, err := fmt.Fprintln(io.out, report)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// thisVersion is this binary's.
func thisVersion() versionReport {
	info, _ := debug.ReadBuildInfo() // nil without build information
	return versionOf(info)
}

// versionOf reads a binary's build information, which may be nil.
func versionOf(info *debug.BuildInfo) versionReport {
	r := versionReport{Version: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info == nil {
		return r
	}
	if info.Main.Version != "" {
		r.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Revision = s.Value
		case "vcs.time":
			r.Time = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		case "-tags":
			r.Tags = s.Value
		}
	}
	return r
}

// String is the line for people: smelt v0.1.0, commit 0123456789ab of
// 2026-01-02T03:04:05Z, go1.26.0 linux/amd64.
func (r versionReport) String() string {
	s := "smelt " + r.Version
	if r.Revision != "" {
		s += ", commit " + r.Revision[:min(12, len(r.Revision))]
		if r.Time != "" {
			s += " of " + r.Time
		}
		if r.Modified {
			s += " with changes"
		}
	}
	s += fmt.Sprintf(", %s %s/%s", r.Go, r.OS, r.Arch)
	if r.Tags != "" {
		s += ", tags " + r.Tags
	}
	return s
}

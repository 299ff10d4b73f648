package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOutside builds this example as a module of its own in an empty folder, which
// requires smelt and replaces it by this repository, as README says. The folder has
// the repository's go.sum, so that nothing is fetched that is not here already.
func TestOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a build with no other's results")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod := read(t, filepath.Join(root, "go.mod"))
	module := regexp.MustCompile(`(?m)^module (\S+)`).FindStringSubmatch(mod)[1]
	dir := t.TempDir()
	write(t, dir, "go.sum", read(t, filepath.Join(root, "go.sum")))
	write(t, dir, "main.go", read(t, "main.go"))
	write(t, dir, "go.mod", strings.Join([]string{
		"module chat",
		regexp.MustCompile(`(?m)^go .*`).FindString(mod),
		"require " + module + " v0.0.0",
		"replace " + module + " => " + root, "",
	}, "\n"))
	cmd := exec.Command("go", "build", "-mod=mod", "-o", "chat", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, "chat")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "usage: chat CHECKPOINT") {
		t.Errorf("without a checkpoint it says %q (%v)", out, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

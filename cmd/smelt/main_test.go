package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// asCommand makes the test binary be the command: tests of signals need a
// process of their own.
const asCommand = "SMELT_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if change := os.Getenv(cutting); change != "" {
		os.Exit(runCutting(change))
	}
	if os.Getenv(asCommand) != "" {
		main()
	}
	dir, err := os.MkdirTemp("", "smelt-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	status := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// scratch is a folder of the test binary's, for what several tests use.
var scratch string

// mixedFixture has layers of all kinds.
const mixedFixture = "../../internal/models/deepseekv4/testdata/fixtures/b-official-fp8fp4"

// copyOf copies a checkpoint into a folder of the test's own.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// firstMatch is the first file below dir whose name matches, relative to it.
func firstMatch(t *testing.T, dir, pattern string) (found string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, e.Name()); ok && found == "" {
			found, err = filepath.Rel(dir, path)
		}
		return err
	}))
	if found == "" {
		t.Fatalf("%s has no %s", dir, pattern)
	}
	return found
}

// fewer is n, or less of it with -short.
func fewer(n int) int {
	if testing.Short() {
		return max(1, n/4)
	}
	return n
}

// countdown is a context that ends when it has been asked a number of times
// whether it has: Ctrl-C at a place that does not depend on the machine.
type countdown struct {
	context.Context
	left atomic.Int32
}

func interruptAfter(t *testing.T, questions int) context.Context {
	c := &countdown{Context: t.Context()}
	c.left.Store(int32(questions))
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// smeltWith runs a command line with a context, writing to out.
func smeltWith(ctx context.Context, out io.Writer, args ...string) result {
	var errors bytes.Buffer
	status := execute(ctx, args, stdio{strings.NewReader(""), out, &errors})
	return result{args: args, status: status, errors: errors.String()}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		page := smelt(t, "", args...).succeeds(t)
		for _, command := range []string{"run", "chat", "compile", "inspect", "verify", "doctor", "eval", "tokenize", "version"} {
			if !strings.Contains(page, "\n  "+command+" ") {
				t.Errorf("smelt %v does not list %s", args, command)
			}
			help := smelt(t, "", command, "--help").succeeds(t)
			if again := smelt(t, "", "help", command).succeeds(t); again != help || !strings.Contains(help, "smelt "+command) {
				t.Errorf("help %s and %s --help differ, or do not name the command", command, command)
			}
		}
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"unknown command", []string{"bake"}, []string{`unknown command "bake"`}},
		{"misspelt command", []string{"evla"}, []string{`unknown command "evla"`, "eval"}},
		{"unknown flag", []string{"--verbose"}, []string{"--verbose", "smelt --help"}},
	} {
		t.Run(c.name, func(t *testing.T) { smelt(t, "", c.args...).fails(t, c.want...) })
	}
}

// TestOneFileCheckpoint: the weights' file stands for its folder.
func TestOneFileCheckpoint(t *testing.T) {
	file := filepath.Join(storyteller, "model.safetensors")
	args := []string{"--tokens", "0,779,576", "--json"}
	whole := evalJSON(t, append([]string{storyteller}, args...)...)
	if one := evalJSON(t, append([]string{file}, args...)...); *one.Loss != *whole.Loss {
		t.Errorf("loss %v by way of the file, %v by way of the folder", *one.Loss, *whole.Loss)
	}
	if r := runJSON(t, "", file, "-p", "Once", "-n", "1"); r.PromptTokens != 2 {
		t.Errorf("a prompt of %d tokens, expected 2", r.PromptTokens)
	}
}

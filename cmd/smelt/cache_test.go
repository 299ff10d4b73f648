//go:build linux || darwin

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// TestSharedCodeCache: machine code in a folder that others may write to is not
// used, and one line says so.
func TestSharedCodeCache(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles all kernels anew")
	}
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv("HOME", home)
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	r := smelt(t, "", "bench", "kernels", plainFixture, "--device", "cpu", "--context", "4", "--prefill", "0", "--repeat", "1")
	want := "smelt: compiled anew, and not kept: cache of compiled kernels: " + home + " can be written by others (mode 0777): chmod go-w " + home + "\n"
	if r.status != 0 || strings.Count(r.errors, want) != 1 {
		t.Errorf("%+v, want the line %q", r, want)
	}
	if left, err := filepath.Glob(filepath.Join(home, "*")); err != nil || len(left) > 0 {
		t.Errorf("written there: %q, %v", left, err)
	}
}

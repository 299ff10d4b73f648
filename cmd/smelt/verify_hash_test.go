package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestModifiedWeights: a byte changed in place, with the size, the header and all
// else the same. A time of modification that differs is a note, and a change that
// even the time hides is found by --hash.
func TestModifiedWeights(t *testing.T) {
	checkpoint := copyOf(t, plainFixture)
	file := filepath.Join(checkpoint, "model-00002-of-00003.safetensors")
	long := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	bundle := compileTo(t, checkpoint, "--context", "16", "--hash")
	read := func(want ...string) {
		t.Helper()
		var r hashReport
		res := smelt(t, "", "verify", bundle, "--hash", "--json")
		decodeStrictly(t, res.out, &r)
		var differ []string
		for _, f := range r.Files {
			if !f.OK {
				differ = append(differ, f.Name)
			}
		}
		if strings.Join(differ, " ") != strings.Join(want, " ") || r.OK != (len(want) == 0) || (res.status == 0) != r.OK || len(r.Files) != 3 {
			t.Errorf("status %d, %+v; expected %v to differ", res.status, r, want)
		}
	}
	read()
	flip(t, file)
	r := smelt(t, "", "verify", bundle, "--scan")
	if r.status != 0 || strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, "note: "+file+" changed since") || !strings.Contains(r.errors, "smelt verify --hash "+bundle) {
		t.Errorf("status %d, standard error %q", r.status, r.errors)
	}
	r = smelt(t, "", "verify", bundle, "--hash")
	if r.status != 1 || !strings.Contains(r.out, "DIFFERS  "+file+": SHA-256 ") || !strings.Contains(r.errors, "smelt: 1 file of weights changed since "+bundle) {
		t.Errorf("status %d, standard output %q, standard error %q", r.status, r.out, r.errors)
	}
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	if r := smelt(t, "", "verify", bundle, "--scan"); r.status != 0 || r.errors != "" {
		t.Errorf("status %d, standard error %q", r.status, r.errors)
	}
	read(filepath.Base(file))
	flip(t, file)
	read()
	// Compiling again without --hash takes the record away.
	compileJSON(t, checkpoint, "-o", bundle, "--context", "16")
	smelt(t, "", "verify", bundle, "--hash").fails(t, "has no record of the weights", "smelt compile "+checkpoint+" -o "+bundle+" --hash")
}

// flip changes a bit of a file's last byte, in place.
func flip(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	last[0] ^= 1
	if _, err := f.WriteAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
}

// TestHashInterrupted: Ctrl-C during a compile ends it, also while weights are hashed,
// and nothing is written.
func TestHashInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	out := filepath.Join(t.TempDir(), "b")
	for _, questions := range []int{0, 3} { // after compiling; while weights are hashed
		r := smeltWith(interruptAfter(t, questions), &strings.Builder{}, "compile", plainFixture, "-o", out, "--context", "16", "--hash")
		if r.status != statusInterrupted || r.errors != "smelt: interrupted\n" {
			t.Errorf("status %d, %s", r.status, r.errors)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("something is in the output: %v", err)
	}
}

// TestVerifyReadings: the two ways to read weights, and what contradicts them.
func TestVerifyReadings(t *testing.T) {
	bundle := compileTo(t, plainFixture, "--context", "16")
	smelt(t, "", "verify", bundle, "--scan", "--hash").fails(t, "two readings")
	smelt(t, "", "verify", bundle, "--hash", "--tokens", "3").fails(t, "--tokens contradicts")
	smelt(t, "", "verify", bundle, "--hash").fails(t, "has no record")
}

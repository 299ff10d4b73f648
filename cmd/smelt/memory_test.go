package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/memory"
)

// TestTooManySlots: a bundle whose caches have no room is refused by every command that
// would open a device for it, paging or not, with what to compile it with, before it
// compiles anything.
func TestTooManySlots(t *testing.T) {
	dir := compileTo(t, storyteller, "--slots", "4096", "--cache", "f32")
	b, err := bundle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if here := memory.Here().Available; !here.Known() || b.Memory().Caches < here.Bytes {
		t.Skipf("this machine has room for %d bytes of caches, or does not tell", b.Memory().Caches)
	}
	for _, args := range [][]string{
		{"chat", dir, "--device", "reference"},
		{"chat", dir, "--allow-paging", "--device", "reference"},
		{"run", dir, "--prompt", "hi", "--device", "cpu"},
		{"eval", dir, "--tokens", "1,2,3", "--device", "cpu"},
		{"bench", "run", dir, "--device", "cpu", "--allow-paging"},
		{"verify", dir},
		{"verify", dir, "--allow-paging"},
	} {
		r := smelt(t, "", args...)
		if strings.Contains(r.errors, "not on this machine") {
			continue // without libLLVM
		}
		r.fails(t, " device needs ", " of memory besides the weights (caches ", " are available (", "--slots ")
		if args[len(args)-1] == "cpu" || args[0] == "verify" {
			r.fails(t, "compile the bundle with ", "--cache fp8 instead of f32")
		}
	}
}

// TestPaging: full-size Flash is refused in words on a machine that has not its memory,
// by whatever would read its weights.
func TestPaging(t *testing.T) {
	shared := os.Getenv("SMELT_SHARED")
	if testing.Short() || shared == "" {
		t.Skip("-short, or SMELT_SHARED is unset: compiles a full-size checkpoint")
	}
	if here := memory.Here().Total; !here.Known() || here.Bytes > 150e9 {
		t.Skip("this machine has room for the weights, or does not tell")
	}
	dir := t.TempDir()
	if out, err := exec.Command("python3", filepath.Join(shared, "tools/fullsize.py"), "flash", dir).CombinedOutput(); err != nil {
		t.Skipf("no full-size checkpoint: %v: %s", err, out)
	}
	tokenizer, err := os.ReadFile(filepath.Join(storyteller, "tokenizer.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tokenizer.json"), tokenizer, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", dir, "--prompt", "hi", "--context", "4096"},
		{"eval", dir, "--tokens", "1,2,3", "--precision", "64"},
	} {
		smelt(t, "", args...).fails(t, "the weights take 156.0 GB and the ", ", and the memory is ", "): a token reads 11.2 GB of weights, ", " of all weights fit, and about ",
			" a token come from the disk, which gives ", "ed", "): expect at most ", " tokens a second; give --allow-paging to run all the same, or take")
	}
	// 16 texts of a million tokens take 59 GB of caches.
	if memory.Here().Available.Bytes < 60e9 {
		r := smelt(t, "", "bench", "run", dir, "--frontiers", "1000000", "--rows", "16", "--device", "cpu", "--allow-paging")
		if !strings.Contains(r.errors, "not on this machine") { // without libLLVM
			r.fails(t, "the cpu device needs ", " of memory besides the weights (caches 5", " are available (", "take --context ", ", or --slots ", "(for smelt bench run, the context is the last of --frontiers")
		}
	}
}

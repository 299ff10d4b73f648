package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cachedStory puts the storyteller into a cache of the hub, as links to blobs.
func cachedStory(t *testing.T) (id, snapshot string) {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	const hash = "c0ffee0123456789c0ffee0123456789c0ffee01"
	repo := filepath.Join(cache, "models--some-org--Story-21M")
	snapshot = filepath.Join(repo, "snapshots", hash)
	if err := errors.Join(os.MkdirAll(snapshot, 0o700), os.MkdirAll(filepath.Join(repo, "refs"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copyOf(t, storyteller), filepath.Join(repo, "blobs")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(repo, "refs", "main"), hash)
	entries, err := os.ReadDir(filepath.Join(repo, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join("..", "..", "blobs", e.Name()), filepath.Join(snapshot, e.Name())); err != nil {
			t.Skip(err)
		}
	}
	return "some-org/Story-21M", snapshot
}

// TestIDs: an id stands for the snapshot in every command that takes a checkpoint.
func TestIDs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: opens a model a dozen times")
	}
	id, snapshot := cachedStory(t)
	note := "note: " + id + " is " + snapshot + "\n"
	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle")
	for _, args := range [][]string{
		{"inspect", id, "--json"},
		{"tokenize", id, "--text", "Once"},
		{"compile", id, "-o", bundle, "--context", "256"},
		{"eval", id, "--tokens", "0,5,9"},
		{"run", id, "-p", "Once", "-n", "2", "--device", "reference"},
	} {
		r := smelt(t, "", args...)
		if r.status != 0 || !strings.HasPrefix(r.errors, note) || r.out == "" {
			t.Errorf("%q: status %d\n%s", args, r.status, r.errors)
		}
		if args[0] == "inspect" {
			var page struct{ Path string }
			if err := json.Unmarshal([]byte(r.out), &page); err != nil || page.Path != snapshot {
				t.Errorf("inspect says %s, %v", page.Path, err)
			}
		}
	}
	if r := smelt(t, "", "run", bundle, "-p", "Once", "-n", "2", "--device", "reference"); r.status != 0 || strings.Contains(r.errors, "note") {
		t.Errorf("the bundle: status %d\n%s", r.status, r.errors)
	}
	repo := filepath.Dir(filepath.Dir(snapshot))
	for _, path := range []string{repo, filepath.Dir(snapshot), id + "@c0ffee0"} {
		if r := smelt(t, "", "tokenize", path, "--text", "Once"); r.status != 0 || !strings.HasPrefix(r.errors, "note: "+path+" is "+snapshot) {
			t.Errorf("%s: status %d\n%s", path, r.status, r.errors)
		}
	}
}

// TestIDsAreInputs: what an id stands for is not written over.
func TestIDsAreInputs(t *testing.T) {
	id, snapshot := cachedStory(t)
	blob := filepath.Join(snapshot, "..", "..", "blobs", "tokenizer.json")
	for _, args := range [][]string{
		{"eval", id, "--tokens", "0,5", "--logits", filepath.Join(snapshot, "x.safetensors")},
		{"eval", id, "--tokens", "0,5", "--force", "--logits", blob},
		{"compile", id, "-o", snapshot},
	} {
		if r := smelt(t, "", args...); r.status != 1 || r.out != "" || !strings.Contains(r.errors, "the checkpoint") {
			t.Errorf("%q: status %d\n%s", args, r.status, r.errors)
		}
	}
}

func TestIDsMissing(t *testing.T) {
	id, snapshot := cachedStory(t)
	words := []string{"there is no file or folder some-org/other here", "`hf download some-org/other`"}
	for _, command := range []string{"inspect", "tokenize", "eval", "run", "doctor"} {
		smelt(t, "", command, "some-org/other").fails(t, words...)
	}
	smelt(t, "", "compile", "some-org/other", "-o", t.TempDir()).fails(t, words...)
	smelt(t, "", "bench", "run", "some-org/other").fails(t, words...)
	smelt(t, "", "bench", "kernels", "some-org/other").fails(t, words...)
	// A folder of that name wins.
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(id, 0o700); err != nil {
		t.Fatal(err)
	}
	smelt(t, "", "inspect", id).fails(t, "checkpoint "+id+": ", "no weights")
	if r := smelt(t, "", "tokenize", snapshot, "--text", "Once"); r.errors != "" {
		t.Errorf("a snapshot by its path: %s", r.errors)
	}
}

func TestIDsComplete(t *testing.T) {
	cachedStory(t)
	for begun, want := range map[string]string{
		"some-":    "some-org/Story-21M\n:4\n",
		"some-org": "some-org/Story-21M\n:4\n",
		"":         "safetensors\n:8\n",
		"other":    "safetensors\n:8\n",
		"ids":      "safetensors\n:8\n", // files here go on like that
	} {
		if r := smelt(t, "", "__complete", "inspect", begun); r.status != 0 || r.out != want {
			t.Errorf("%s<TAB> gives %q, want %q", begun, r.out, want)
		}
	}
}

// TestImposters: a Git LFS pointer or a page in the place of any file is named, and
// what to do.
func TestImposters(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles a model, and copies it eight times")
	}
	const pointer, page = "version https://git-lfs.github.com/spec/v1\noid sha256:a1\nsize 77\n", "<!doctype html><title>Log in</title>"
	bundle := filepath.Join(t.TempDir(), "bundle")
	smelt(t, "", "compile", storyteller, "-o", bundle, "--context", "256")
	module, err := filepath.Glob(filepath.Join(bundle, "smelt-*", "plan.ir"))
	if err != nil || len(module) != 1 {
		t.Fatal(module, err)
	}
	for content, want := range map[string]string{pointer: "is a Git LFS pointer (to 77 bytes), not the file itself; run `git lfs pull`", page: `is a web page ("Log in"), not the file itself`} {
		for _, name := range []string{"config.json", "tokenizer.json", "generation_config.json", "model.safetensors"} {
			dir := copyOf(t, storyteller)
			writeFile(t, filepath.Join(dir, name), content)
			smelt(t, "", "run", dir, "-p", "Once", "-n", "1", "--device", "reference").fails(t, filepath.Join(dir, name), want)
		}
		for _, path := range []string{module[0], filepath.Join(bundle, "bundle.json")} {
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, content)
			smelt(t, "", "run", bundle, "-p", "Once", "-n", "1", "--device", "reference").fails(t, path, want, "or compile the bundle again")
			writeFile(t, path, string(before))
		}
	}
}

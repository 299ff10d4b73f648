package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotes: commands say on standard error what is odd about a checkpoint and accepted,
// once and in the words of inspect; a checkpoint without oddities gets no note.
func TestNotes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: opens a model a dozen times")
	}
	dir := t.TempDir()
	source, err := filepath.Abs(storyteller)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Symlink(filepath.Join(source, f.Name()), filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(source, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	layers := int(config["num_hidden_layers"].(float64))
	config["compress_ratios"] = append(config["compress_ratios"].([]any)[:layers:layers], 0, 0, 0)
	config["num_nextn_predict_layers"], config["dspark_block_size"] = 1, 5
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	want := []string{"compress_ratios has 3 numbers beyond the layers, num_nextn_predict_layers is 1; 3 draft stages are taken, which smelt does not use yet",
		"not used, as smelt does not draft tokens yet: dspark_block_size"}
	page := smelt(t, "", "inspect", dir).succeeds(t)
	bundle := filepath.Join(t.TempDir(), "bundle")
	for _, args := range [][]string{
		{"run", "--prompt", "Once", "-n", "1", "--temp", "0", "--device", "reference"}, {"eval", "--tokens", "1,2", "--device", "reference"},
		{"compile", "-o", bundle, "--context", "64", "--target", "cpu"},
	} {
		r := smelt(t, "", append([]string{args[0], dir}, args[1:]...)...)
		if r.status != 0 {
			t.Fatalf("%s: status %d: %s", args[0], r.status, r.errors)
		}
		for _, n := range want {
			if !strings.Contains(page, "\n  "+n+"\n") || strings.Count(r.errors, "note: "+n+"\n") != 1 || strings.Contains(r.out, n) {
				t.Errorf("%s says\n%s\nand inspect\n%s\nwant %q on standard error once", args[0], r.errors, page, n)
			}
		}
		if args[0] == "compile" {
			continue
		}
		if plain := smelt(t, "", append([]string{args[0], storyteller}, args[1:]...)...); plain.status != 0 || strings.Contains(plain.errors, "note: ") {
			t.Errorf("%s of a plain checkpoint: status %d,\n%s", args[0], plain.status, plain.errors)
		}
	}
	if r := smelt(t, "", "run", bundle, "--prompt", "Once", "-n", "1", "--temp", "0", "--device", "reference"); r.status != 0 || strings.Count(r.errors, "note: "+want[0]) != 1 {
		t.Errorf("run of the bundle: status %d,\n%s", r.status, r.errors)
	}
}

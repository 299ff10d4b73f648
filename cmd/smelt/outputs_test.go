package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOutputsRefused: no command that writes replaces a file that it reads, by
// whatever name, or writes into the folder of a checkpoint or bundle, whatever flags
// are given. Nothing is computed before that is said.
func TestOutputsRefused(t *testing.T) {
	model, second := copyOf(t, plainFixture), copyOf(t, plainFixture)
	made := compileTo(t, model, "--context", "16")
	elsewhere := t.TempDir()
	text := writeFile(t, filepath.Join(elsewhere, "text"), "1 2 3")
	weights := firstMatch(t, model, "model*.safetensors")
	hard, soft, folder := filepath.Join(elsewhere, "hard"), filepath.Join(elsewhere, "soft"), filepath.Join(t.TempDir(), "folder")
	must(t, os.Link(filepath.Join(model, weights), hard))
	must(t, os.Symlink(filepath.Join(model, "config.json"), soft))
	must(t, os.Symlink(made, folder))
	must(t, os.Mkdir(filepath.Join(model, "sub"), 0o755))
	before := allFiles(t, model, second, made, elsewhere)

	ofModel := []string{
		filepath.Join(model, weights), filepath.Join(model, "config.json"), filepath.Join(model, "new"), filepath.Join(model, "sub", "new"),
		hard, soft, filepath.Join(made, "bundle.json"), filepath.Join(made, "new"), filepath.Join(folder, "new"), filepath.Join(second, "new"),
	}
	for _, c := range []struct {
		command string
		outs    []string
	}{
		{"eval MODEL --tokens 1 --logits OUT", ofModel},
		{"eval MODEL --tokens 1 --trace OUT", ofModel},
		{"eval MODEL/" + weights + " --tokens 1 --logits OUT", ofModel},
		{"eval MODEL --tokens-file " + text + " --logits OUT", []string{text}},
		{"eval MODEL --text-file " + text + " --logits OUT", []string{text}},
		{"inspect BUNDLE --html OUT", ofModel},
		{"doctor MODEL --report OUT", ofModel},
		{"doctor BUNDLE --report OUT", ofModel},
		{"bench run MODEL --svg OUT", ofModel},
		{"bench run MODEL --text " + text + " --svg OUT", []string{text}},
		{"bench kernels BUNDLE --svg OUT", ofModel},
		{"compile MODEL -o NEW --dump-dir OUT", []string{model, filepath.Join(model, "sub"), made, folder, filepath.Join(second, "new"), filepath.Join(model, "config.json")}},
		{"compile MODEL -o OUT", []string{model, filepath.Join(model, "sub"), filepath.Join(model, "new"), second, filepath.Join(made, "new"), filepath.Dir(model), hard}},
	} {
		for _, out := range c.outs {
			for _, force := range []string{"", " --force"} {
				if force != "" && strings.HasSuffix(c.command, "-o OUT") {
					continue
				}
				command := strings.NewReplacer("MODEL", model, "BUNDLE", made, "OUT", out, "NEW", filepath.Join(elsewhere, "bundle")).Replace(c.command + force)
				smelt(t, "", strings.Fields(command)...).fails(t, out, "; give a")
			}
		}
	}
	if diff := cmp.Diff(before, allFiles(t, model, second, made, elsewhere)); diff != "" {
		t.Error(diff)
	}
}

// allFiles is what the files below some folders hold.
func allFiles(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		for name, content := range tree(t, dir) {
			all[filepath.Join(dir, name)] = content
		}
	}
	return all
}

// TestOutputsForeign: what somebody else made stays unless --force is given, and what
// smelt made is replaced.
func TestOutputsForeign(t *testing.T) {
	made := compileTo(t, plainFixture, "--context", "16")
	for _, c := range []string{
		"eval MODEL --tokens 1,2 --logits OUT", "eval MODEL --tokens 1,2 --trace OUT", "inspect BUNDLE --html OUT", "compile MODEL -o NEW --context 16 --dump-dir DIR",
	} {
		dir := t.TempDir()
		out := writeFile(t, filepath.Join(dir, "00_input.ir"), "thesis")
		args := strings.Fields(strings.NewReplacer("MODEL", plainFixture, "BUNDLE", made, "OUT", out, "DIR", dir, "NEW", filepath.Join(t.TempDir(), "bundle")).Replace(c))
		smelt(t, "", args...).fails(t, out, "that smelt wrote", "--force")
		if got := tree(t, dir); !maps.Equal(got, map[string]string{"00_input.ir": "thesis"}) {
			t.Errorf("%s: left %v", c, got)
		}
		for _, force := range [][]string{{"--force"}, nil} { // then it is smelt's own
			if r := smelt(t, "", append(args, force...)...); r.status != 0 || content(t, out) == "thesis" {
				t.Errorf("%s %v: status %d, %s", c, force, r.status, r.errors)
			}
		}
	}
	// bundle.json is a common name: another program's makes no bundle of a folder.
	project := t.TempDir()
	writeFile(t, filepath.Join(project, "bundle.json"), `{"format":1,"files":["app.js"]}`)
	for _, c := range [][]string{{"inspect", made, "--html", filepath.Join(project, "page.html")}, {"compile", plainFixture, "--context", "16", "-o", filepath.Join(project, "made")}} {
		if r := smelt(t, "", c...); r.status != 0 {
			t.Errorf("%v: status %d, %s", c, r.status, r.errors)
		}
	}
	smelt(t, "", "compile", plainFixture, "--context", "16", "-o", project).fails(t, project+" exists and is not a bundle")
	// A file of one kind is not replaced by another kind's.
	logits := filepath.Join(t.TempDir(), "x")
	evalJSON(t, plainFixture, "--tokens", "1", "--logits", logits)
	smelt(t, "", "inspect", made, "--html", logits).fails(t, logits, "is not a page that smelt wrote")
	for _, args := range [][]string{evalArgs(plainFixture, "--tokens", "1"), {"inspect", made}, {"bench", "run", made}, {"doctor", "--json"}, {"compile", plainFixture, "-o", made}} {
		smelt(t, "", append(args, "--force")...).fails(t, "--force is about files to be written")
	}
}

// TestOutputsApart: two outputs that lead to one file.
func TestOutputsApart(t *testing.T) {
	dir := t.TempDir()
	logits := filepath.Join(dir, "logits")
	link := filepath.Join(dir, "link")
	must(t, os.Symlink("logits", link))
	for _, trace := range []string{logits, link, dir + "/../" + filepath.Base(dir) + "/logits"} {
		smelt(t, "", "eval", plainFixture, "--tokens", "1", "--logits", logits, "--trace", trace).fails(t, "the same file")
	}
	out := filepath.Join(dir, "bundle")
	for _, dump := range []string{out, filepath.Join(out, "x"), dir + "/./bundle"} {
		smelt(t, "", "compile", plainFixture, "-o", out, "--dump-dir", dump).fails(t, "--dump-dir", "where the bundle goes")
	}
	requireFiles(t, dir, "link")
}

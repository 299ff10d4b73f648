package output

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	own     = "# smelt doctor: attach this file to a bug\nold\n"
	new     = "# smelt doctor: attach this file to a bug\nnew\n"
	foreign = "somebody's work\n"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func link(t *testing.T, to, path string) string {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Skip(err)
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// names lists a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, expected one with %q", words)
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("several lines: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v; lacks %q", err, w)
		}
	}
}

func rules(inputs ...Input) Rules {
	return Rules{Flag: "--out", Format: Report, Inputs: inputs, Kinds: []Kind{{"a checkpoint", func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "config.json"))
		return err == nil
	}}}}
}

// write is what a command does with a file.
func write(t *testing.T, path string, r Rules) error {
	f, err := New(path, r)
	if err != nil {
		return err
	}
	return f.Write(t.Context(), text(new))
}

// A foreign file is kept unless the user insists; an own one, an empty one and one
// that is not there give way.
func TestMarks(t *testing.T) {
	for _, c := range []struct {
		before string
		kept   bool
	}{
		{foreign, true}, {own, false}, {"", false}, {"# smelt notes\n", true}, {"# smelt doctor says\n", true}, {own[:len(own)-6], true}, {"#", true}, {" " + own, true}, {strings.ToUpper(own), true},
	} {
		for _, force := range []bool{false, true} {
			dir := t.TempDir()
			path := put(t, filepath.Join(dir, "file"), c.before)
			r := rules()
			r.Force = force
			err := write(t, path, r)
			want := new
			if c.kept && !force {
				wantError(t, err, "--out: "+path, "exists and is not a report that smelt wrote", "or Force to replace it")
				want = c.before
			} else if err != nil {
				t.Errorf("%q: %v", c.before, err)
			}
			if got := content(t, path); got != want || names(t, dir) != "file" {
				t.Errorf("%q, force %v: %q, in the folder %s", c.before, force, got, names(t, dir))
			}
		}
	}
}

// TestMarkOfFormats: each format's own mark, and no other's, is known.
func TestMarkOfFormats(t *testing.T) {
	formats := []Format{SafeTensors, SVG, HTML, Report, Stage}
	for i, of := range formats {
		path := put(t, filepath.Join(t.TempDir(), "file"), strings.Repeat("\x07", of.skip)+of.Mark()+"rest")
		for j, f := range formats {
			if got, err := f.wrote(path); err != nil || got != (i == j) {
				t.Errorf("%s read as %s: %v, %v", of.name, f.name, got, err)
			}
		}
	}
}

// TestInputs: what is read is not replaced, by whatever name, not even with force.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "model")
	weights := put(t, filepath.Join(model, "deep", "weights"), own)
	lone := put(t, filepath.Join(dir, "text.txt"), own)
	hard, hardLone := filepath.Join(dir, "hard"), filepath.Join(dir, "hardlone")
	must(t, os.Link(weights, hard))
	must(t, os.Link(lone, hardLone))
	blob := put(t, filepath.Join(dir, "blobs", "0123"), own) // as a hub's cache has it
	link(t, blob, filepath.Join(model, "linked"))
	inputs := []Input{{"the model", model}, {"the file of --text", lone}, {"what is not there", filepath.Join(dir, "none")}}
	for _, path := range []string{
		weights, lone, hard, hardLone, blob,
		link(t, weights, filepath.Join(dir, "l1")), link(t, hard, filepath.Join(dir, "l2")), link(t, "l2", filepath.Join(dir, "l3")),
		filepath.Join(model, "linked"), filepath.Join(model, "new"), filepath.Join(model, "deep", "new"),
		filepath.Join(link(t, model, filepath.Join(dir, "other")), "new"),
		link(t, filepath.Join(model, "made"), filepath.Join(dir, "dangling")),
		model + "/deep/../new", dir + "/other/deep/../new", dir + "/blobs/../model/new",
	} {
		for _, force := range []bool{false, true} {
			r := rules(inputs...)
			r.Force = force
			wantError(t, write(t, path, r), "--out: "+path, "elsewhere")
		}
	}
	for _, path := range []string{weights, lone, hard, blob} {
		if got := content(t, path); got != own {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := names(t, model); got != "deep linked" {
		t.Error(got)
	}
	// What only stands beside them is written.
	if err := write(t, filepath.Join(dir, "blobs", "other"), rules(inputs...)); err != nil {
		t.Error(err)
	}
}

// TestDotsBehindLinks: .. behind a link is above what the link leads to.
func TestDotsBehindLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "model", "sub"), 0o755))
	link(t, filepath.Join(dir, "model", "sub"), filepath.Join(dir, "link"))
	path := dir + "/link/../file" // in the model, though its spelling says dir
	wantError(t, write(t, path, rules(Input{"the model", filepath.Join(dir, "model")})), "lies in the folder of the model")
}

func TestKinds(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "model", "config.json"), "{}")
	must(t, os.MkdirAll(filepath.Join(dir, "model", "a", "b"), 0o755))
	for _, path := range []string{"model/x", "model/a/x", "model/a/b/x", "model/config.json"} {
		r := rules()
		r.Force = true
		wantError(t, write(t, filepath.Join(dir, path), r), filepath.Join(dir, "model")+" is the folder of a checkpoint")
	}
	if err := write(t, filepath.Join(dir, "x"), rules()); err != nil {
		t.Error(err)
	}
}

// TestJudgedAgain: what happened since the first look counts too.
func TestJudgedAgain(t *testing.T) {
	for what, happens := range map[string]func(t *testing.T, dir, path string){
		"not a report that smelt wrote": func(t *testing.T, _, path string) { put(t, path, foreign) },
		"folder of a checkpoint":        func(t *testing.T, dir, _ string) { put(t, filepath.Join(dir, "config.json"), "{}") },
		"the file of --text":            func(t *testing.T, dir, path string) { must(t, os.Link(filepath.Join(dir, "text"), path)) },
		"leads elsewhere":               func(t *testing.T, dir, path string) { link(t, filepath.Join(dir, "away"), path) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		f, err := New(path, rules(Input{"the file of --text", put(t, filepath.Join(dir, "text"), own)}))
		must(t, err)
		wantError(t, f.Write(t.Context(), func(w io.Writer) error {
			happens(t, dir, path)
			return text(new)(w)
		}), what)
		if got := names(t, dir); strings.Contains(got, ".smelt") {
			t.Errorf("%s: left %s", what, got)
		}
		if data, err := os.ReadFile(path); err == nil && string(data) == new {
			t.Errorf("%s: written all the same", what)
		}
	}
}

func TestLinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file := put(t, filepath.Join(other, "file"), own)
	path := link(t, file, filepath.Join(dir, "link"))
	path = link(t, path, filepath.Join(dir, "again"))
	dangling := link(t, filepath.Join(other, "made"), filepath.Join(dir, "dangling"))
	relative := link(t, "beside", filepath.Join(dir, "relative"))
	for _, p := range []string{path, dangling, relative} {
		must(t, write(t, p, rules()))
		if info, err := os.Lstat(p); err != nil || info.Mode()&fs.ModeSymlink == 0 || content(t, p) != new {
			t.Errorf("%s is no link any more, or another file was written", p)
		}
	}
	if content(t, file) != new || names(t, other) != "file made" || names(t, dir) != "again beside dangling link relative" {
		t.Errorf("%s; %s", names(t, other), names(t, dir))
	}
	loop := link(t, filepath.Join(dir, "loop"), filepath.Join(dir, "loop"))
	wantError(t, write(t, loop, rules()), loop, "or to itself")
	wantError(t, write(t, link(t, filepath.Join(other, "none", "x"), filepath.Join(dir, "far")), rules()), "make the folder first")
	wantError(t, write(t, link(t, other, filepath.Join(dir, "folder")), rules()), "is a folder")
}

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "file"), own)
	for path, want := range map[string]string{
		dir: "is a folder", dir + "/": "is a folder", filepath.Join(dir, "new") + "/": "is a folder", ".": "is a folder", "..": "is a folder", "": "is a folder",
		filepath.Join(dir, "none", "x"): "make the folder first", filepath.Join(file, "x"): "not a folder",
	} {
		wantError(t, write(t, path, rules()), "--out", want)
	}
	t.Chdir(dir)
	must(t, write(t, "new", rules()))
	if got := names(t, dir); got != "file new" {
		t.Error(got)
	}
}

func TestSame(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "file"), own)
	hard := filepath.Join(dir, "hard")
	must(t, os.Link(file, hard))
	all := []string{file, dir + "/./file", hard, link(t, file, filepath.Join(dir, "link"))}
	for _, a := range all {
		for _, b := range append(all, filepath.Join(dir, "other")) {
			x, err := New(a, rules())
			must(t, err)
			y, err := New(b, rules())
			must(t, err)
			if same := x.Same(y); same != (filepath.Base(b) != "other") {
				t.Errorf("%s and %s: %v", a, b, same)
			}
		}
	}
}

// TestErrorsKeep: after an error what was there is there, and nothing else.
func TestErrorsKeep(t *testing.T) {
	broken := errors.New("broken")
	for _, before := range []string{own, ""} {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		if before != "" {
			put(t, path, before)
		}
		f, err := New(path, rules())
		must(t, err)
		want := names(t, dir)
		if err := f.Write(t.Context(), func(w io.Writer) error {
			_, err := w.Write(make([]byte, 3*bufferBytes))
			return errors.Join(err, broken)
		}); !errors.Is(err, broken) || err.Error() != "broken" {
			t.Error(err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = f.Write(t.Context(), func(io.Writer) error { panic("in the middle") })
		}()
		if names(t, dir) != want || before != "" && content(t, path) != before {
			t.Errorf("in the folder: %s", names(t, dir))
		}
		must(t, f.Write(t.Context(), text(new)))
		must(t, f.Write(t.Context(), text(new+"again")))
		if content(t, path) != new+"again" {
			t.Error("cannot be written again")
		}
	}
}

func TestReplace(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "file"), foreign)
	must(t, Replace(path, text(new)))
	if content(t, path) != new {
		t.Error(content(t, path))
	}
	wantError(t, Replace(filepath.Join(path, "x"), text(new)), path+" is not a folder")
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "model")
	put(t, filepath.Join(model, "config.json"), "{}")
	file := put(t, filepath.Join(dir, "file"), "")
	r := rules(Input{"the model", model})
	for path, want := range map[string]string{
		model: "the model", filepath.Join(model, "x"): "the model", filepath.Join(model, "x", "y", "z"): "the model", model + "/": "the model",
		link(t, model, filepath.Join(dir, "link")): "the model", filepath.Join(dir, "link", "x"): "the model",
		file: "not a folder", filepath.Join(file, "x"): "not a",
		link(t, filepath.Join(dir, "gone"), filepath.Join(dir, "dangling")): "a link that leads nowhere", filepath.Join(dir, "dangling", "x"): "a link that leads nowhere",
	} {
		wantError(t, Folder(path, r), "--out", want)
	}
	for _, path := range []string{dir, filepath.Join(dir, "new"), filepath.Join(dir, "new", "deep")} {
		must(t, Folder(path, r))
	}
	for _, path := range []string{dir, filepath.Dir(dir), "/"} {
		wantError(t, Around(path, r), "lies in this folder")
	}
	for _, path := range []string{filepath.Join(dir, "new"), model, t.TempDir()} {
		must(t, Around(path, r))
	}
}

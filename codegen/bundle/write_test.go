package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"smelt.example/smelt/models"
)

// names lists what is directly in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// put writes a file, with its folders.
func put(t *testing.T, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// twoBundles are of the fixture with different options, compiled once.
func twoBundles() (a, b *Bundle) {
	x, y := compiledPair()
	return &x, &y
}

var compiledPair = sync.OnceValues(func() (a, b Bundle) {
	m, err := models.Open(fixture, models.Options{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	for i, to := range []*Bundle{&a, &b} {
		o := smallOptions
		o.Context /= 1 << i
		c, _, err := Compile(Source{Name: "a", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, o)
		if err != nil {
			panic(err)
		}
		*to = *c
	}
	return a, b
})

// TestReplace: a bundle in the place of another leaves nothing of that or of
// compiles that were killed, and everything that smelt did not write.
func TestReplace(t *testing.T) {
	inFull(t)
	t.Parallel()
	a, b := twoBundles()
	dir := filepath.Join(t.TempDir(), "made", "b")
	write(t, a, dir)
	mine := put(t, "mine", dir, "notes.txt")
	write(t, a, dir) // nothing changes
	kept := a.folder
	partial := folderPrefix + strings.Repeat("0", 32)
	put(t, "half", dir, partial, "kernels", "ir", "x.kir")
	put(t, "half", dir, ".smelt-0123456789abcdef.tmp")
	other := put(t, "mine", dir, ".smelt-notes.tmp")
	write(t, b, dir)
	want := []string{filepath.Base(other), documentName, filepath.Base(mine), b.folder, timesName}
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) || kept == b.folder {
		t.Errorf("found %v, expected %v", got, want)
	}
	if r, err := Read(dir); err != nil || r.Plan.Context != 128 {
		t.Fatalf("not the new bundle: %v", err)
	}
	// A file of one's own in the folder that goes stays, and is named.
	strange := put(t, "mine", dir, b.folder, "kernels", "ir", "notes.txt")
	left, err := a.Write(t.Context(), dir)
	if err != nil || !slices.Equal(left, []string{strange}) {
		t.Errorf("left %v, %v; expected %s", left, err, strange)
	}
	if data, err := os.ReadFile(strange); err != nil || string(data) != "mine" {
		t.Errorf("a file that smelt did not write: %q %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, b.folder, moduleName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old plan is still there: %v", err)
	}
}

// TestRepairs: writing the same bundle again mends what was damaged.
func TestRepairs(t *testing.T) {
	inFull(t)
	t.Parallel()
	b, _ := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	write(t, b, dir)
	plan := filepath.Join(dir, b.folder, moduleName)
	for name, damage := range map[string]func() error{
		"a file cut off": func() error { return os.Truncate(plan, 100) },
		"all but bundle.json gone": func() error {
			return os.RemoveAll(filepath.Join(dir, b.folder))
		},
		"bundle.json gone":    func() error { return os.Remove(filepath.Join(dir, documentName)) },
		"bundle.json cut off": func() error { return os.Truncate(filepath.Join(dir, documentName), 1000) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil {
			t.Errorf("%s: it opens", name)
		}
		write(t, b, dir)
		if _, err := Read(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNotReplaced: folders that are no bundles stay as they are.
func TestNotReplaced(t *testing.T) {
	inFull(t)
	t.Parallel()
	b, _ := twoBundles()
	for name, make := range map[string]func(dir string){
		"a text":                func(dir string) { put(t, "x", dir, "thesis.txt") },
		"another's bundle.json": func(dir string) { put(t, `{"name":"app"}`, dir, documentName) },
		"another's numbered bundle.json": func(dir string) {
			put(t, `{"format":2,"files":["plan.ir"]}`, dir, documentName)
			put(t, "x", dir, moduleName)
		},
		"an empty bundle.json":          func(dir string) { put(t, "", dir, documentName) },
		"a folder called bundle.json":   func(dir string) { put(t, "x", dir, documentName, "x") },
		"a folder with a digest's name": func(dir string) { put(t, "x", dir, strings.Repeat("0", 32), "x") },
		"a folder almost like smelt's":  func(dir string) { put(t, "x", dir, "smelt-old", "x") },
		"a file called like a folder":   func(dir string) { put(t, "x", dir, folderPrefix+strings.Repeat("0", 32)) },
		"a checkpoint":                  func(dir string) { put(t, "{}", dir, "config.json") },
	} {
		dir := filepath.Join(t.TempDir(), "b")
		make(dir)
		before := names(t, dir)
		if _, err := b.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "is not a bundle") {
			t.Errorf("%s: %v", name, err)
		}
		if after := names(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: %v became %v", name, before, after)
		}
	}
	// What a compile that was killed left is no bundle, and nothing of value.
	dir := filepath.Join(t.TempDir(), "b")
	put(t, "x", dir, folderPrefix+strings.Repeat("0", 32), "plan.ir")
	put(t, "x", dir, ".smelt-0123456789abcdef.tmp")
	if IsBundle(dir) {
		t.Error("left-overs look like a bundle")
	}
	// Another program's file makes no bundle of a checkpoint; smelt's does.
	model := t.TempDir()
	put(t, "{}", model, "config.json")
	put(t, "", model, "model.safetensors")
	for content, want := range map[string]bool{`{"name":"app"}`: false, `{"format":1,"files":[]}`: false, `{"format":7,"model":{"name":"a"}}`: true} {
		put(t, content, model, documentName)
		if IsBundle(model) != want {
			t.Errorf("a checkpoint with %s is a bundle: %v", content, !want)
		}
	}
	write(t, b, dir)
	// The error is of the folder, not of a hidden file in it.
	lost := filepath.Join(t.TempDir(), "lost")
	if _, err := (&writer{dir: lost}).temp(nil, syncPart); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "writing into "+lost+": ") || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("a folder that is gone: %v", err)
	}
	// A folder that does not let itself be written is as it was.
	if os.Getuid() != 0 {
		closed := t.TempDir()
		if err := os.Chmod(closed, 0o555); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), filepath.Join(closed, "b")); err == nil {
			t.Error("written into a closed folder")
		}
	}
}

// TestLinkInFolder: a link in the place of the bundle's folder leads nowhere.
func TestLinkInFolder(t *testing.T) {
	inFull(t)
	t.Parallel()
	b, _ := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	write(t, b, dir)
	for _, place := range []string{kernelDir, "kernels", "."} {
		away, from := t.TempDir(), filepath.Join(dir, b.folder, place)
		if err := os.RemoveAll(from); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(away, from); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), from+" is a symbolic link") {
			t.Errorf("%s: %v", place, err)
		}
		if left := names(t, away); len(left) > 0 {
			t.Errorf("%s: written behind the link: %v", place, left)
		}
		if err := os.Remove(from); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteEnds: the end of a context ends the wait for another compile, and the
// writing; the old bundle stays.
func TestWriteEnds(t *testing.T) {
	inFull(t)
	t.Parallel()
	a, b := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	write(t, a, dir)
	before, err := os.ReadFile(filepath.Join(dir, documentName))
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	check := func(what string) {
		if _, err := b.Write(ended, dir); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
		if after, err := os.ReadFile(filepath.Join(dir, documentName)); err != nil || string(after) != string(before) || len(names(t, dir)) != 3 {
			t.Errorf("%s: bundle.json was replaced, or something left: %v %v", what, err, names(t, dir))
		}
	}
	check("writing")
	unlock, _, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	check("waiting")
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// TestTwoAtOnce: compiles into one folder at once, and readers beside them, which
// find one of the bundles at any time.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	a, b := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	write(t, a, dir)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	for _, from := range []*Bundle{a, b} {
		writers.Go(func() {
			for range rounds {
				mine := *from
				if left, err := mine.Write(t.Context(), dir); err != nil || len(left) > 0 {
					t.Errorf("%v, left %v", err, left)
				}
			}
		})
	}
	read := 0
	readers.Go(func() {
		for {
			r, err := Read(dir)
			if err != nil || r.Plan.Context != 256 && r.Plan.Context != 128 {
				t.Errorf("after %d good reads: %v", read, err)
				return
			}
			read++
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	readers.Go(func() { // sees moments that are too short for a whole reading
		for {
			data, err := os.ReadFile(filepath.Join(dir, documentName))
			if err == nil {
				_, err = unseal(data)
			}
			if err != nil {
				t.Errorf("bundle.json at some moment: %v", err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(stop)
	readers.Wait()
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := Read(dir); err != nil {
		t.Error(err)
	}
}

// TestBundleOfBefore: version 2 had its files beside bundle.json; they go, and what
// else is there stays.
func TestBundleOfBefore(t *testing.T) {
	inFull(t)
	t.Parallel()
	b, _ := twoBundles()
	dir := filepath.Join(t.TempDir(), "b")
	put(t, `{"format":2,"model":{"name":"a"}}`, dir, documentName)
	put(t, "module", dir, moduleName)
	put(t, "kernel", dir, "kernels", "ir", "x.kir")
	put(t, "kernel", dir, "kernels", "metal", "x.metal")
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "format is 2, this smelt reads 7") {
		t.Error(err)
	}
	write(t, b, dir)
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
}

// inFull skips a test with -short: it compiles bundles in one goroutine, where the
// race detector has nothing to find.
func inFull(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
}

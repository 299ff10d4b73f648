package bundle_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// written compiles a fixture into a folder and lists its files.
func written(t testing.TB) (dir string, files []string) {
	t.Helper()
	m, err := models.Open("../../internal/models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "a", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Lean: true, Context: 64, Chunk: 8, Formats: passes.Formats{Rows: "f32", Keys: "f32"}})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "bundle")
	if _, err := b.Write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	return dir, files
}

// change alters one file of a bundle, as how says, and gives back whether it is
// another one now, and what undoes it.
func change(t *testing.T, path string, how, at uint16, with []byte) (other bool, undo func()) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := int(at) % (len(data) + 1)
	end := min(i+len(with), len(data))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	switch how % 8 {
	case 0: // other bytes
		must(os.WriteFile(path, append(append(append([]byte{}, data[:i]...), with...), data[end:]...), 0o600))
	case 1: // more bytes
		must(os.WriteFile(path, append(append(append([]byte{}, data[:i]...), with...), data[i:]...), 0o600))
	case 2: // an end too early
		must(os.WriteFile(path, data[:i], 0o600))
	case 3: // a piece less
		must(os.WriteFile(path, append(append([]byte{}, data[:i]...), data[end:]...), 0o600))
	case 4: // no file
		must(os.Remove(path))
	case 5: // something else in its place
		must(os.Remove(path))
		must(os.Mkdir(path, 0o700))
	case 6: // a device that does not end
		must(os.Remove(path))
		must(os.Symlink("/dev/zero", path))
	case 7: // no end to be read
		must(os.Truncate(path, 1<<40))
	}
	other = how%8 > 3
	if !other {
		now, err := os.ReadFile(path)
		must(err)
		other = !bytes.Equal(now, data)
	}
	return other, func() {
		must(os.RemoveAll(path))
		must(os.WriteFile(path, data, 0o600))
	}
}

// FuzzFolder changes a bundle's folder anywhere: it does not open, that takes no
// more memory than some times what the whole one takes, and what is said is short
// and names the folder.
func FuzzFolder(f *testing.F) {
	dir, files := written(f)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := bundle.Read(dir); err != nil {
		f.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	limit := 4*(after.TotalAlloc-before.TotalAlloc) + 64<<20
	for how := range uint16(8) {
		f.Add(how, how, 40*how, []byte("0"))
		f.Add(how, how*31, 1000*how+7, []byte("[[[{\"x\":1e999"))
	}
	f.Fuzz(func(t *testing.T, which, how, at uint16, with []byte) {
		if len(with) > 1<<16 {
			return
		}
		path := files[int(which)%len(files)]
		other, undo := change(t, path, how, at, with)
		defer undo()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := bundle.Read(dir)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > limit {
			t.Errorf("%d bytes of memory, at most %d are expected", used, limit)
		}
		// times.json is outside the digest: another is a note when the checkpoint opens.
		if err == nil && other && filepath.Base(path) != "times.json" {
			t.Errorf("%s was changed, and the bundle opens", path)
		}
		if err != nil && (len(err.Error()) > 4000 || !strings.Contains(err.Error(), dir)) {
			t.Errorf("an error of %d bytes: %.500v", len(err.Error()), err)
		}
	})
}

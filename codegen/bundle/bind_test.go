package bundle

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// tampered writes a bundle whose parts were changed, with every digest right.
func tampered(t *testing.T, b *Bundle, change func(name string, data []byte) []byte, document func(d *document)) string {
	t.Helper()
	files, err := b.parts()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i].data = change(f.name, f.data)
	}
	doc, err := b.document(digests(files))
	if err != nil {
		t.Fatal(err)
	}
	document(doc)
	data, _, err := seal(doc)
	if err != nil {
		t.Fatal(err)
	}
	w := writer{dir: t.TempDir()}
	if err := w.parts(t.Context(), doc.Folder, files); err != nil {
		t.Fatal(err)
	}
	if err := w.file(documentName, data); err != nil {
		t.Fatal(err)
	}
	return w.dir
}

// TestRecompile: changes that opening need not notice, as what runs is not changed
// by them, or that a device could not: compiling again does.
func TestRecompile(t *testing.T) {
	inFull(t)
	t.Parallel()
	b, _ := twoBundles()
	s := source(t, fixture)
	same := func(_ string, data []byte) []byte { return data }
	none := func(*document) {}
	for _, c := range []struct {
		name     string
		change   func(name string, data []byte) []byte
		document func(d *document)
		want     string // of the error; "" for none
	}{
		{"nothing", same, none, ""},
		{"a kernel's Metal text", func(name string, data []byte) []byte {
			if strings.HasSuffix(name, "attn_q_decode.metal") {
				return append(bytes.Clone(data), "// edited\n"...)
			}
			return data
		}, none, "attn_q_decode.metal is not what compiling again gives"},
		{"the module", func(name string, data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("eps = 1e-06"), []byte("eps = 1e-05"))
		}, none, ""},
		{"where command buffers end", same, func(d *document) {
			x := d.Steps[0].Dispatches
			for i := len(x) - 1; ; i-- {
				x[i].CommandBuffer++
				if x[i].Barrier {
					return
				}
			}
		}, "bundle.json is not what compiling again gives"},
		{"what was chosen and why", same, func(d *document) { d.Notes = []string{"nothing"} }, "is not what compiling again gives"},
	} {
		dir := tampered(t, b, c.change, c.document)
		read, err := Read(dir)
		if c.name == "the module" { // the kernels are others
			if err == nil {
				t.Errorf("%s: it opens", c.name)
			}
			continue
		}
		if err == nil {
			err = read.Bind(s)
		}
		if err != nil {
			t.Errorf("%s: does not open: %v", c.name, err)
			continue
		}
		if err := read.Recompile(s); (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Base(dir))) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

// TestBind: a checkpoint that is another is refused.
func TestBind(t *testing.T) {
	t.Parallel()
	b, _ := twoBundles()
	s := source(t, fixture)
	if err := b.Bind(s); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b *Bundle){
		"name":         func(b *Bundle) { b.Name = "x" },
		"layout":       func(b *Bundle) { b.Layout = "x" },
		"config.json":  func(b *Bundle) { b.Config = digest(nil) },
		"files":        func(b *Bundle) { b.Files = b.Files[1:] },
		"a file":       func(b *Bundle) { b.Files[0].Name = "x" },
		"its size":     func(b *Bundle) { b.Files[0].Bytes++ },
		"its header":   func(b *Bundle) { b.Files[0].Header = digest(nil) },
		"no parameter": func(b *Bundle) { b.Params = nil },
	} {
		other := *b
		other.Files = append([]File{}, b.Files...)
		spoil(&other)
		if err := other.Bind(s); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "compile again: smelt compile") {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

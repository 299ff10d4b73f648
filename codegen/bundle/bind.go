package bundle

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"

	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/passes/cacheformat"
	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/passes"
)

// Bind compares an open checkpoint with the one that the bundle was compiled from:
// configuration, names, sizes and headers of the files, and where its headers put
// each parameter with where the bundle has it. Weights are not read: others of the
// same names and shapes pass; see Modified and RecordedHashes.
func (b *Bundle) Bind(s Source) error {
	if err := b.checkFiles(s.Checkpoint); err != nil {
		return err
	}
	if s.Name != b.Name || s.Binding.Layout != b.Layout {
		return fmt.Errorf("%s: model %s in the layout %s; the bundle %s says %s in %s%s", s.Checkpoint.Dir, s.Name, s.Binding.Layout, b.Dir, message.Clip(b.Name), message.Clip(b.Layout), b.again())
	}
	if err := b.checkCaches(s.Graph); err != nil {
		return err
	}
	bound, err := storage.Bound(s.Checkpoint, s.Binding, s.Graph)
	if err != nil {
		return err
	}
	for _, declared := range b.Module.Params {
		have, want := b.Params[declared.Name], bound[declared.Name]
		if !reflect.DeepEqual(have, want) {
			return fmt.Errorf("%s: parameter %s lies elsewhere than the bundle %s says%s%s", s.Checkpoint.Dir, declared.Name, b.Dir, b.apart(have, want), b.again())
		}
	}
	return nil
}

// checkCaches compares how states are stored with what the bundle's cache formats
// make of the checkpoint's graph.
func (b *Bundle) checkCaches(graph *ir.Module) error {
	_, choices, err := cacheformat.Choose(graph, passes.Formats{Rows: b.CacheRows, Keys: b.CacheKeys})
	if err != nil {
		return fmt.Errorf("the bundle %s: %w%s", b.Dir, err, b.again())
	}
	want := map[string]string{}
	for _, c := range choices {
		want[c.State] = c.Format
	}
	for _, s := range b.Module.States {
		if s.Stored != want[s.Name] {
			return fmt.Errorf("the bundle %s says that its caches are %s with keys %s, which stores @%s as %s; %s stores it as %s%s", b.Dir, b.CacheRows, b.CacheKeys, s.Name, want[s.Name], moduleName, s.Stored, b.again())
		}
	}
	return nil
}

// apart says where two parameters differ, if they differ in a stored plane.
func (b *Bundle) apart(have, want *storage.Parameter) string {
	if have == nil || want == nil {
		return ""
	}
	for i := range min(len(have.Pieces), len(want.Pieces)) {
		for _, role := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
			x, y := have.Pieces[i].Plane(role), want.Pieces[i].Plane(role)
			if x != y {
				return fmt.Sprintf(": %s of piece %d, expected %s, found %s", role, i, b.extentInWords(y), b.extentInWords(x))
			}
		}
	}
	return ""
}

// extentInWords names a range of bytes of one of the bundle's files.
func (b *Bundle) extentInWords(e storage.Extent) string {
	if e.File < 0 || e.File >= len(b.Files) {
		return fmt.Sprintf("file %d", e.File)
	}
	return fmt.Sprintf("%d bytes from %d of %s", e.Bytes, e.Offset, message.Clip(b.Files[e.File].Name))
}

// again says what to do about a bundle that does not fit its checkpoint.
func (b *Bundle) again() string {
	return fmt.Sprintf("; compile again: smelt compile %s -o %s", b.Checkpoint, b.Dir)
}

// checkFiles compares configuration, files, sizes and headers.
func (b *Bundle) checkFiles(ck *checkpoint.Checkpoint) error {
	if digest(ck.ConfigJSON()) != b.Config {
		return fmt.Errorf("%s: config.json is not the one the bundle %s was compiled for%s", ck.Dir, b.Dir, b.again())
	}
	have := filesOf(ck)
	if len(have) != len(b.Files) {
		return fmt.Errorf("%s: the checkpoint has %s of weights, the bundle %s was compiled for %d%s", ck.Dir, message.Count(len(have), "file"), b.Dir, len(b.Files), b.again())
	}
	for i, f := range have {
		want := b.Files[i]
		switch {
		case f.Name != want.Name:
			return fmt.Errorf("%s: found %s where the bundle %s expects %s%s", ck.Dir, f.Name, b.Dir, want.Name, b.again())
		case f.Bytes != want.Bytes:
			return fmt.Errorf("%s: %d bytes, the bundle %s was compiled for %d%s", filepath.Join(ck.Dir, f.Name), f.Bytes, b.Dir, want.Bytes, b.again())
		case f.Header != want.Header:
			return fmt.Errorf("%s: the header is not the one the bundle %s was compiled for%s", filepath.Join(ck.Dir, f.Name), b.Dir, b.again())
		}
	}
	return nil
}

// Recompile compiles the bundle's checkpoint again, with the bundle's options, and
// compares what that gives with the bundle's files, byte for byte.
func (b *Bundle) Recompile(s Source) error {
	o := b.Plan.Options
	c, _, err := Compile(s, Options{Context: o.Context, Chunk: o.Chunk, Slots: o.Slots, Wanted: o.Wanted, Target: o.Target, Lean: true,
		Formats: passes.Formats{Rows: b.CacheRows, Keys: b.CacheKeys}})
	if err != nil {
		return fmt.Errorf("compiling the checkpoint of the bundle %s again: %w", b.Dir, err)
	}
	files, err := c.parts()
	if err != nil {
		return err
	}
	doc, err := c.document(digests(files))
	if err != nil {
		return err
	}
	data, _, err := seal(doc)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := sameFile(filepath.Join(b.Dir, b.folder, filepath.FromSlash(f.name)), f.data); err != nil {
			return err
		}
	}
	return sameFile(filepath.Join(b.Dir, documentName), data)
}

// sameFile compares a file of the bundle with what compiling again gives.
func sameFile(path string, want []byte) error {
	have, err := regular.Read(path, int64(len(want))+maxDocument)
	if err != nil {
		return fmt.Errorf("compiling again gives a file that is not there: %w; the bundle was edited or is of another smelt: compile it again", err)
	}
	if bytes.Equal(have, want) {
		return nil
	}
	at := 0
	for at < min(len(have), len(want)) && have[at] == want[at] {
		at++
	}
	return fmt.Errorf("%s is not what compiling again gives: they differ from byte %d (line %d) on; the bundle was edited or is of another smelt: compile it again", path, at, 1+bytes.Count(want[:at], []byte("\n")))
}

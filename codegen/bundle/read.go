package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"smelt/codegen/kernel"
	"smelt/codegen/storage"
	"smelt/internal/regular"
	"smelt/ir"
	"smelt/ir/text"
	"smelt/models/checkpoint"
)

// Limits of a bundle's files; Pro's are far below.
const (
	maxDocument = 64 << 20
	maxModule   = 64 << 20
	maxKernel   = 8 << 20
	maxKernels  = 4096
)

// IsBundle reports whether a folder looks like a bundle.
func IsBundle(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, documentName))
	return err == nil
}

// Read reads the bundle in dir and checks that its parts fit together. It does
// not look at the checkpoint; see CheckFiles.
func Read(dir string) (*Bundle, error) {
	data, err := regular.Read(filepath.Join(dir, documentName), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a bundle: it has no %s; make one with smelt compile", dir, documentName)
	}
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(filepath.Join(dir, documentName), data)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, moduleName)
	src, err := doc.read(dir, moduleName, maxModule)
	if err != nil {
		return nil, err
	}
	m, err := text.Parse(path, string(src))
	if err != nil {
		return nil, err
	}
	kernels := map[string]*kernel.Kernel{}
	for _, name := range doc.Kernels {
		file := kernelDir + "/" + name + ".kir"
		src, err := doc.read(dir, file, maxKernel)
		if err != nil {
			return nil, err
		}
		k, err := kernel.Parse(string(src))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, filepath.FromSlash(file)), err)
		}
		if k.Name != name {
			return nil, fmt.Errorf("%s: holds kernel %q; compile the bundle again", filepath.Join(dir, filepath.FromSlash(file)), k.Name)
		}
		kernels[name] = k
	}
	b, err := assemble(doc, m, kernels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; compile the bundle again", filepath.Join(dir, documentName), err)
	}
	b.Dir = dir
	return b, nil
}

// kernelName is what a kernel's file may be called.
var kernelName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,200}$`)

// parseDocument reads bundle.json strictly. The version is looked at first: a
// document of another version need not parse.
func parseDocument(path string, data []byte) (*document, error) {
	var version struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("%s: %w; compile the bundle again", path, err)
	}
	if version.Format == nil || *version.Format != Version {
		found := "none"
		if version.Format != nil {
			found = fmt.Sprint(*version.Format)
		}
		return nil, fmt.Errorf("%s: the bundle's format is %s, this smelt reads %d; compile it again", path, found, Version)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var doc document
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s: %w; compile the bundle again", path, err)
	}
	if len(doc.Kernels) > maxKernels {
		return nil, fmt.Errorf("%s: %d kernels; at most %d are expected", path, len(doc.Kernels), maxKernels)
	}
	for _, k := range doc.Kernels {
		if !kernelName.MatchString(k) {
			return nil, fmt.Errorf("%s: %q is not a kernel's name", path, k)
		}
	}
	return &doc, nil
}

// assemble puts a bundle together and verifies its plan.
func assemble(doc *document, m *ir.Module, kernels map[string]*kernel.Kernel) (*Bundle, error) {
	f, err := text.NewFormulas()
	if err != nil {
		return nil, err
	}
	d := &decoder{doc: doc, module: m, kernels: kernels, params: storage.Parameters{}, formula: f}
	for i, s := range doc.Symbols {
		if i >= len(m.Symbols) || len(doc.Symbols) != len(m.Symbols) || m.Symbols[i].Name != s.Name || m.Symbols[i].Def.String() != s.Def || m.Symbols[i].Arg != s.Arg {
			return nil, fmt.Errorf("symbols[%d]: not that of %s", i, moduleName)
		}
	}
	if d.decode(); d.err != nil {
		return nil, d.err
	}
	if err := d.plan.Check(); err != nil {
		return nil, err
	}
	b := &Bundle{Name: doc.Model.Name, Checkpoint: doc.Model.Checkpoint, Layout: doc.Model.Layout, Config: doc.Model.Config,
		CacheRows: doc.Options.Rows, CacheKeys: doc.Options.Keys, Notes: doc.Notes, Module: m, Plan: d.plan, Params: d.params}
	for _, f := range doc.Model.Files {
		b.Files = append(b.Files, File(f))
	}
	return b, nil
}

// read reads one of the bundle's other files, which must be what was written.
func (d *document) read(dir, name string, limit int64) ([]byte, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, err := regular.Read(path, limit)
	if err != nil {
		return nil, err
	}
	if Digest(data) != d.Contents[name] {
		return nil, fmt.Errorf("%s is not what smelt compile wrote beside %s; compile the bundle again", path, documentName)
	}
	return data, nil
}

// CheckFiles compares an open checkpoint with the one the bundle was compiled
// from: configuration, files, sizes and headers.
func (b *Bundle) CheckFiles(ck *checkpoint.Checkpoint) error {
	again := fmt.Sprintf("; compile again: smelt compile %s -o %s", ck.Dir, b.Dir)
	if Digest(ck.ConfigJSON()) != b.Config {
		return fmt.Errorf("%s: config.json is not the one the bundle %s was compiled for%s", ck.Dir, b.Dir, again)
	}
	have := Files(ck)
	if len(have) != len(b.Files) {
		return fmt.Errorf("%s: the checkpoint has %d files of weights, the bundle %s was compiled for %d%s", ck.Dir, len(have), b.Dir, len(b.Files), again)
	}
	for i, f := range have {
		want := b.Files[i]
		switch {
		case f.Name != want.Name:
			return fmt.Errorf("%s: found %s where the bundle %s expects %s%s", ck.Dir, f.Name, b.Dir, want.Name, again)
		case f.Bytes != want.Bytes:
			return fmt.Errorf("%s: %d bytes, the bundle %s was compiled for %d%s", filepath.Join(ck.Dir, f.Name), f.Bytes, b.Dir, want.Bytes, again)
		case f.Header != want.Header:
			return fmt.Errorf("%s: the header is not the one the bundle %s was compiled for%s", filepath.Join(ck.Dir, f.Name), b.Dir, again)
		}
	}
	return nil
}

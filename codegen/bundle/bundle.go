package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"smelt/codegen/kernel"
	"smelt/codegen/plan"
	"smelt/codegen/printer"
	"smelt/codegen/storage"
	"smelt/ir"
	"smelt/ir/text"
	"smelt/models/checkpoint"
)

// Bundle is a compiled model.
type Bundle struct {
	Dir        string // where it was read from; empty before it is written
	Name       string // of the model
	Checkpoint string // folder of the checkpoint, absolute
	Layout     string
	Config     string // SHA-256 of config.json
	Files      []File
	CacheRows  string // the caches' formats, as --cache and --keys name them
	CacheKeys  string
	Notes      []string // what was chosen and why, for --explain
	Module     *ir.Module
	Plan       *plan.Plan
	Params     storage.Parameters
}

// File identifies one of the checkpoint's files.
type File struct {
	Name   string
	Bytes  int64
	Header string // SHA-256 of the safetensors header
}

// Files identifies a checkpoint's files, in its order.
func Files(ck *checkpoint.Checkpoint) []File {
	var out []File
	for _, f := range ck.Files {
		out = append(out, File{filepath.Base(f.Path()), f.Size(), f.HeaderHash()})
	}
	return out
}

// Digest is the hex SHA-256 of some bytes.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const (
	documentName = "bundle.json"
	moduleName   = "plan.ir"
	kernelDir    = "kernels/ir"
)

// Write writes the bundle to dir, which must not exist or hold a bundle.
// Either all of it is written or nothing: it is made beside dir and renamed.
func (b *Bundle) Write(dir string) (err error) {
	files, err := b.contents()
	if err != nil {
		return err
	}
	if err := replaceable(dir); err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, ".smelt-bundle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // gone by name after the rename; what is left on an error is of no use
	for _, f := range files {
		path := filepath.Join(temp, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, 0o666); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

// replaceable refuses a folder that holds something else than a bundle.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, documentName)); err != nil {
		return fmt.Errorf("%s exists and is not a bundle; choose another folder or remove it", dir)
	}
	return nil
}

type content struct {
	name string
	data []byte
}

// contents are the bundle's files.
func (b *Bundle) contents() ([]content, error) {
	t := b.Plan.Target
	if err := t.Check(); err != nil {
		return nil, err
	}
	doc := document{Format: Version, Target: t.Name, Threads: t.Limit(), Notes: b.Notes,
		Model:   modelDoc{Name: b.Name, Checkpoint: b.Checkpoint, Layout: b.Layout, Config: b.Config},
		Options: optionsDoc{b.Plan.Context, b.Plan.Chunk, b.Plan.Slots, b.Plan.Wanted, b.CacheRows, b.CacheKeys},
		Memory:  memoryOf(b.Memory()),
	}
	for _, f := range b.Files {
		doc.Model.Files = append(doc.Model.Files, fileDoc(f))
	}
	encodePlan(&doc, b.Plan, b.Module.Symbols)
	doc.Parameters = encodeParams(b.Module.Params, b.Params)
	files := []content{{moduleName, []byte(text.String(b.Module))}}
	for _, k := range b.Plan.Kernels {
		printed, err := printer.Print(k, t)
		if err != nil {
			return nil, err
		}
		files = append(files, content{kernelDir + "/" + k.Name + ".kir", []byte(kernel.Print(k))}, content{t.Folder + "/" + k.Name + t.Extension, []byte(printed)})
	}
	doc.Contents = map[string]string{}
	for _, f := range files {
		doc.Contents[f.name] = Digest(f.data)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return append(files, content{documentName, out.Bytes()}), nil
}

// Text is a kernel as its target's text.
func (b *Bundle) Text(name string) (string, error) {
	for _, k := range b.Plan.Kernels {
		if k.Name == name {
			return printer.Print(k, b.Plan.Target)
		}
	}
	return "", fmt.Errorf("the bundle has no kernel %q", name)
}

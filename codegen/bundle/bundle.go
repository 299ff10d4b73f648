package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/printer"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/models/checkpoint/filehash"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/models/checkpoint"
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
	// Hashes of the checkpoint's files, to be recorded beside the bundle; nil for
	// none. See package filehash.
	Hashes *filehash.Hashes
	// Begin is told of phases of methods that may take long; nil for nobody.
	Begin progress.Begin

	seal, folder string     // of bundle.json, as read or written
	times        []fileTime // of the checkpoint's files, when it was compiled
}

// File identifies one of the checkpoint's files.
type File struct {
	Name   string
	Bytes  int64
	Header string // SHA-256 of the header
}

// filesOf identifies a checkpoint's files, in its order.
func filesOf(ck *checkpoint.Checkpoint) []File {
	var out []File
	for _, f := range ck.Files {
		out = append(out, File{filepath.Base(f.Path()), f.Size(), f.HeaderHash()})
	}
	return out
}

// digest is the hex SHA-256 of some bytes.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const (
	documentName = "bundle.json"
	folderPrefix = "smelt-"
	moduleName   = "plan.ir"
	kernelDir    = "kernels/ir"
)

// kernelFile and textFile are where a kernel lies in the bundle's folder.
func kernelFile(k *kernel.Kernel) string { return kernelDir + "/" + k.Name + ".kir" }

func textFile(t target.Target, k *kernel.Kernel) string {
	return t.Folder + "/" + k.Name + t.Extension
}

// content is one of the files in the bundle's own folder.
type content struct {
	name string // with slashes
	data []byte
}

// parts are the files that bundle.json names.
func (b *Bundle) parts() ([]content, error) {
	t := b.Plan.Target
	if err := t.Check(); err != nil {
		return nil, err
	}
	done, end := b.Begin.Phase("printing kernels", int64(len(b.Plan.Kernels)), "kernels")
	defer end()
	files := []content{{moduleName, []byte(text.String(b.Module))}}
	for _, k := range b.Plan.Kernels {
		printed, err := printer.Print(k, t)
		if err != nil {
			return nil, err
		}
		files = append(files, content{kernelFile(k), []byte(kernel.Print(k))}, content{textFile(t, k), []byte(printed)})
		done(1)
	}
	return files, nil
}

// digests are the SHA-256 of files, by name.
func digests(files []content) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		out[f.name] = digest(f.data)
	}
	return out
}

// folderOf names the folder of files with these digests: the same contents, the
// same name, and other contents another. It is a name of smelt's own, so that no
// other folder is taken for one.
func folderOf(contents map[string]string) string {
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		fmt.Fprintf(&list, "%s  %s\n", contents[name], name)
	}
	return folderPrefix + digest([]byte(list.String()))[:32]
}

// document is bundle.json of a bundle whose other files have these digests.
func (b *Bundle) document(contents map[string]string) (*document, error) {
	t := b.Plan.Target
	if err := t.Check(); err != nil {
		return nil, err
	}
	doc := &document{Format: formatVersion, Target: t.Name, Threads: t.Limit(), Bitwise: !t.Halves, Notes: b.Notes,
		Model:   modelDoc{Name: b.Name, Checkpoint: b.Checkpoint, Layout: b.Layout, Config: b.Config},
		Options: optionsDoc{b.Plan.Context, b.Plan.Chunk, b.Plan.Slots, b.Plan.Wanted, b.CacheRows, b.CacheKeys},
		Memory:  memoryOf(b.Memory()), Folder: folderOf(contents), Contents: contents,
	}
	for _, f := range b.Files {
		doc.Model.Files = append(doc.Model.Files, fileDoc(f))
	}
	encodePlan(doc, b.Plan, b.Module.Symbols)
	doc.Parameters = encodeParams(b.Module.Params, b.Params)
	return doc, nil
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

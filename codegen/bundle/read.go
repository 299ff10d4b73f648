package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"

	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/ir/text"
)

// Limits of a bundle's files in bytes; Pro's are far below.
const (
	maxDocument = 64 << 20
	maxModule   = 64 << 20
	maxKernel   = 8 << 20
	maxContents = 3 * 4096 // files
)

// IsBundle reports whether a folder is to be read as a bundle: it has a bundle.json,
// which may be damaged or of another version. One of another program in a checkpoint's
// folder makes that no bundle.
func IsBundle(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, documentName)); err != nil {
		return false
	}
	return !formats.LooksLike(dir) || WasWritten(dir)
}

// WasWritten reports whether a folder holds a bundle that smelt wrote, of any version.
// One whose bundle.json cannot be read counts: it may be one.
func WasWritten(dir string) bool {
	data, err := regular.Read(filepath.Join(dir, documentName), maxDocument)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return mark.Match(data)
}

// CheckpointOf is the folder of the checkpoint that a bundle was compiled from, as
// its document says; empty if that cannot be read. Nothing else is looked at.
func CheckpointOf(dir string) string {
	var doc struct {
		Model struct {
			Checkpoint string `json:"checkpoint"`
		} `json:"model"`
	}
	data, err := regular.Read(filepath.Join(dir, documentName), maxDocument)
	if err != nil || json.Unmarshal(data, &doc) != nil {
		return ""
	}
	return doc.Model.Checkpoint
}

// attempts bounds how often a bundle is read again because a compile replaced it.
const attempts = 8

// Read reads the bundle in dir, plans its module again and checks that all of it is
// as it was written and fits together. It does not look at the checkpoint; see Bind.
// A bundle that a compile replaces while it is read is the old one or the new one.
func Read(dir string) (*Bundle, error) {
	path := filepath.Join(dir, documentName)
	data, err := regular.Read(path, maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a bundle: it has no %s; make one with smelt compile", dir, documentName)
	}
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		b, err := read(dir, data)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || n == attempts {
			return b, err
		}
		again, later := regular.Read(path, maxDocument)
		if later != nil || bytes.Equal(data, again) {
			return nil, err // nobody replaced it: a file is missing
		}
		data = again
	}
}

// read reads the bundle in dir whose bundle.json has been read.
func read(dir string, data []byte) (*Bundle, error) {
	path := filepath.Join(dir, documentName)
	doc, err := parseDocument(path, data)
	if err != nil {
		return nil, err
	}
	source, err := doc.readContents(dir)
	if err != nil {
		return nil, err
	}
	m, err := text.Parse(filepath.Join(dir, doc.Folder, moduleName), string(source))
	if err != nil {
		return nil, err
	}
	b, err := doc.replan(m, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; compile the bundle again", path, err)
	}
	b.Dir = dir
	return b, nil
}

// parseDocument reads bundle.json strictly. The version is looked at first: a
// document of another version need not parse.
func parseDocument(path string, data []byte) (*document, error) {
	if !mark.Match(data) {
		return nil, explained(path, fmt.Errorf("%s does not begin as smelt compile writes it: it is damaged or of another program; compile the bundle again, into another folder if the file is somebody else's", path))
	}
	if v := versionOf(data); v != fmt.Sprint(formatVersion) {
		return nil, fmt.Errorf("%s: the bundle's format is %s, this smelt reads %d; compile it again", path, v, formatVersion)
	}
	seal, err := unseal(data)
	if err != nil {
		return nil, fmt.Errorf("%s is not as smelt compile wrote it: %w; compile the bundle again", path, err)
	}
	var doc document
	if err := decode(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w; compile the bundle again", path, err)
	}
	if doc.Seal != seal {
		return nil, fmt.Errorf("%s: its last member is not the only %q; compile the bundle again", path, "sha256")
	}
	return &doc, nil
}

// explained says what lies in the place of a file, if that is plain, where err is that
// it is not what smelt wrote.
func explained(path string, err error) error {
	if e := new(imposter.Error); errors.As(imposter.Explain(path, err), &e) {
		return fmt.Errorf("%w, or compile the bundle again", e)
	}
	return err
}

// mark matches the beginning of bundle.json of any version. The format's number alone
// would not do: others number their formats too.
var mark = regexp.MustCompile(`^\{"format":([0-9]{1,9}),"model":\{"name":"`)

// versionOf is the format's number that a document gives, or "none".
func versionOf(data []byte) string {
	if m := mark.FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return "none"
}

// partName matches names of files in the bundle's own folder.
var partName = regexp.MustCompile(`^(plan\.ir|kernels/(ir/[A-Za-z]\w{0,200}\.kir|(metal|cuda)/[A-Za-z]\w{0,200}\.metal|cpu/[A-Za-z]\w{0,200}\.ll))$`)

// readContents reads all files that the document names, which must be what was
// written, and returns plan.ir.
func (d *document) readContents(dir string) ([]byte, error) {
	path := filepath.Join(dir, documentName)
	if len(d.Contents) > maxContents {
		return nil, fmt.Errorf("%s: %d files; at most %d are expected", path, len(d.Contents), maxContents)
	}
	if d.Folder != folderOf(d.Contents) {
		return nil, fmt.Errorf("%s: the folder is called %q, its contents make it %s; compile the bundle again", path, message.Clip(d.Folder), folderOf(d.Contents))
	}
	if d.Contents[moduleName] == "" {
		return nil, fmt.Errorf("%s names no %s; compile the bundle again", path, moduleName)
	}
	var source []byte
	for _, name := range slices.Sorted(maps.Keys(d.Contents)) {
		if !partName.MatchString(name) {
			return nil, fmt.Errorf("%s: %q is no file of a bundle; compile the bundle again", path, message.Clip(name))
		}
		limit := int64(maxKernel)
		if name == moduleName {
			limit = maxModule
		}
		file := filepath.Join(dir, d.Folder, filepath.FromSlash(name))
		data, err := regular.Read(file, limit)
		if err != nil {
			return nil, fmt.Errorf("%w; compile the bundle again", err)
		}
		if digest(data) != d.Contents[name] {
			return nil, explained(file, fmt.Errorf("%s is not what smelt compile wrote beside %s; compile the bundle again", file, documentName))
		}
		if name == moduleName {
			source = data
		}
	}
	return source, nil
}

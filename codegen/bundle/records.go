package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/models/checkpoint"
)

// Files beside bundle.json that describe the checkpoint and not the bundle: two compiles
// may give different ones. Each names the bundle.json that it belongs to; with another it
// does not count.
const (
	timesName  = "times.json"
	hashesName = "weights.json"
	timesMark  = "smelt times 1"
	hashesMark = "smelt weights 1"
	maxRecord  = 16 << 20
)

// timesDoc is times.json: when the checkpoint's files were modified last, as the
// compile found them.
type timesDoc struct {
	Format string     `json:"format"`
	Bundle string     `json:"bundle_sha256"` // last member of bundle.json
	Files  []fileTime `json:"files"`
}

type fileTime struct {
	Name     string    `json:"name"`
	Modified time.Time `json:"modified"`
}

// timesOf asks when a checkpoint's files were modified; nil if they have no such
// time, being in memory alone, or none that RFC 3339 can spell.
func timesOf(ck *checkpoint.Checkpoint) []fileTime {
	var out []fileTime
	for _, f := range ck.Files {
		info, err := os.Stat(f.Path())
		if err != nil {
			return nil
		}
		at := info.ModTime().UTC()
		if at.Year() < 0 || at.Year() > 9999 {
			return nil
		}
		out = append(out, fileTime{filepath.Base(f.Path()), at})
	}
	return out
}

// record is one of those files: data is nil for none.
type record struct {
	name, mark string
	data       any
}

// records are those of the bundle, once it has its seal.
func (b *Bundle) records() []record {
	out := []record{{timesName, timesMark, nil}, {hashesName, hashesMark, nil}}
	if len(b.times) > 0 {
		out[0].data = timesDoc{timesMark, b.seal, b.times}
	}
	if b.Hashes != nil {
		out[1].data = hashesDoc{hashesMark, b.seal, b.Hashes.Files}
	}
	return out
}

// strange reports whether something other than smelt's record lies in its place.
func (r record) strange(dir string) bool {
	data, err := regular.Read(filepath.Join(dir, r.name), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return err != nil || !bytes.HasPrefix(data, []byte(`{"format":"`+strings.TrimRight(r.mark, "0123456789")))
}

// checkRecords refuses a folder in which files of others are where records go.
func (b *Bundle) checkRecords(dir string) error {
	for _, r := range b.records() {
		if r.data != nil && r.strange(dir) {
			return fmt.Errorf("%s was not written by smelt compile, which writes such a file; move it away or choose another folder", filepath.Join(dir, r.name))
		}
	}
	return nil
}

// writeRecords writes times.json and weights.json, or removes those of the bundle
// before.
func (b *Bundle) writeRecords(w *writer) error {
	for _, r := range b.records() {
		if r.data == nil {
			if r.strange(w.dir) {
				continue
			}
			if err := os.Remove(filepath.Join(w.dir, r.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		data, err := encode(r.data)
		if err != nil {
			return err
		}
		if err := w.file(r.name, data); err != nil {
			return err
		}
	}
	return nil
}

// readRecord reads a record strictly; fs.ErrNotExist if there is none.
func (b *Bundle) readRecord(name string, doc any) error {
	path := filepath.Join(b.Dir, name)
	data, err := regular.Read(path, maxRecord)
	if err != nil {
		return err
	}
	if err := decode(data, doc); err != nil {
		return explained(path, fmt.Errorf("%s: %w; remove it or compile the bundle again", path, err))
	}
	return nil
}

// Modified names the files of the open checkpoint whose time of modification is
// another than when the bundle was compiled: they may hold other weights, though
// their sizes and headers are the same. A bundle without a record of times names
// none; a record that cannot be read is an error.
func (b *Bundle) Modified(ck *checkpoint.Checkpoint) ([]string, error) {
	var doc timesDoc
	err := b.readRecord(timesName, &doc)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case doc.Format != timesMark:
		return nil, fmt.Errorf("%s: the format is %q, this smelt reads %q; remove it or compile the bundle again", filepath.Join(b.Dir, timesName), message.Clip(doc.Format), timesMark)
	case doc.Bundle != b.seal:
		return nil, nil
	}
	then := map[string]time.Time{}
	for _, f := range doc.Files {
		then[f.Name] = f.Modified
	}
	var out []string
	for _, now := range timesOf(ck) {
		if t, known := then[now.Name]; known && !t.Equal(now.Modified) {
			out = append(out, now.Name)
		}
	}
	return out, nil
}

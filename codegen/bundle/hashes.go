package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/filehash"
	"smelt.example/smelt/internal/option"
)

// hashesDoc is weights.json.
type hashesDoc struct {
	Format string          `json:"format"`
	Bundle string          `json:"bundle_sha256"` // last member of bundle.json
	Files  []filehash.Hash `json:"files"`
}

// ErrNoHashes is in RecordedHashes' error of a bundle that was written without
// hashes.
var ErrNoHashes = errors.New("has no record of the weights")

// RecordedHashes returns the hashes that were written with the bundle, or ErrNoHashes.
func (b *Bundle) RecordedHashes() (*filehash.Hashes, error) {
	var doc hashesDoc
	path := filepath.Join(b.Dir, hashesName)
	err := b.readRecord(hashesName, &doc)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && doc.Format == hashesMark && doc.Bundle != b.seal:
		return nil, fmt.Errorf("%s %w", b.Dir, ErrNoHashes)
	case err != nil:
		return nil, err
	case doc.Format != hashesMark:
		return nil, option.Errorf("%s: the format is %q, this smelt reads %q; compile the bundle again with %s", path, message.Clip(doc.Format), hashesMark, option.Name("Hashes"))
	case len(doc.Files) != len(b.Files):
		return nil, option.Errorf("%s: %d files, the bundle has %d; compile the bundle again with %s", path, len(doc.Files), len(b.Files), option.Name("Hashes"))
	}
	for i, f := range doc.Files {
		if f.Name != b.Files[i].Name || f.Bytes != b.Files[i].Bytes || !filehash.Valid(f.SHA256) || f.Source != filehash.Read && f.Source != filehash.Hub {
			return nil, option.Errorf("%s: files[%d] is not of %s; compile the bundle again with %s", path, i, b.Files[i].Name, option.Name("Hashes"))
		}
	}
	return &filehash.Hashes{Files: doc.Files}, nil
}

package output

import (
	"bytes"
	"errors"
	"io"

	"smelt.example/smelt/internal/regular"
)

// A Format is a kind of files that smelt writes, each with a mark near its beginning
// by which smelt knows its own.
type Format struct {
	name string // "an SVG chart"
	skip int    // bytes before the mark
	mark string
}

// The formats. What writes one begins with its Mark.
var (
	SafeTensors = Format{"a safetensors file", 8, `{"__metadata__":{"` + MetadataKey + `":`} // behind the header's length
	SVG         = Format{"a chart", 0, "<!-- smelt chart -->\n"}
	HTML        = Format{"a page", 0, "<!doctype html>\n<!-- smelt page -->\n"}
	// The marks of texts are whole lines: others head their notes with a name, too.
	Report = Format{"a report", 0, "# smelt doctor: attach this file to a bug\n"}
	Stage  = Format{"a stage", 0, "# smelt compile --dump-dir: a stage of the passes\n"}
)

// MetadataKey is the key of a safetensors file's metadata that says what smelt wrote.
const MetadataKey = "smelt"

// Mark is the beginning of a file of the format; in a safetensors file it follows the
// first 8 bytes.
func (f Format) Mark() string { return f.mark }

// wrote reports whether the file at path is empty or carries the format's mark.
func (f Format) wrote(path string) (bool, error) {
	file, _, err := regular.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close() // only read
	head := make([]byte, f.skip+len(f.mark))
	n, err := io.ReadFull(file, head)
	switch {
	case errors.Is(err, io.EOF):
		return true, nil // empty
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return false, err
	}
	return n == len(head) && bytes.Equal(head[f.skip:], []byte(f.mark)), nil
}

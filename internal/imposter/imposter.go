// Package imposter tells what lies in the place of a file: a Git LFS pointer, a web
// page that a browser or curl saved under the file's name, a link to a file that was
// never downloaded. A file's own format says only where it does not fit.
package imposter

import (
	"errors"
	"fmt"
	"io"
	"os"

	"smelt.example/smelt/internal/hub"
	"smelt.example/smelt/internal/regular"
)

// headBytes is how much of a file is looked at.
const headBytes = 4 << 10

// An Error says that something else lies in the place of a file.
type Error struct {
	Path   string
	Found  string // "is a Git LFS pointer, not the file itself"
	Advice string // what to do
	Err    error  // why the file cannot be read as what it should be; may be nil
}

func (e *Error) Error() string { return e.Path + " " + e.Found + "; " + e.Advice }

func (e *Error) Unwrap() error { return e.Err }

// Read is regular.Read of a file that others wrote, such as the JSON files of a
// checkpoint: a text that is not empty and not in one of the places of such a file.
func Read(path string, limit int64) ([]byte, error) {
	data, err := regular.Read(path, limit)
	if err != nil {
		return nil, Explain(path, err)
	}
	if found := look(data[:min(len(data), headBytes)], int64(len(data))); found != nil {
		return nil, &Error{Path: path, Found: found.found, Advice: found.advice}
	}
	return data, nil
}

// Explain is an *Error if it is plain what lies at path, where a file could not be
// opened or read because of err; else it is err.
func Explain(path string, err error) error {
	var link *regular.LinkError
	if errors.As(err, &link) {
		return explainLink(path, link, err)
	}
	head, size, failed := readHead(path)
	if failed != nil || errors.As(err, new(*regular.SizeError)) {
		return err
	}
	if found := look(head, size); found != nil {
		return &Error{path, found.found, found.advice, err}
	}
	return err
}

// explainLink says of a link in the hub's cache how the file gets there.
func explainLink(path string, link *regular.LinkError, err error) error {
	d, ok := hub.Of(path)
	if !ok {
		return err
	}
	return &Error{path, fmt.Sprintf("is a link to %s, which is not there: its download was not finished", link.To), d.String() + " goes on with it", err}
}

func readHead(path string) (head []byte, size int64, err error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, 0, errors.New("no regular file")
	}
	f, info, err := regular.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() // only read
	head, err = io.ReadAll(io.LimitReader(f, headBytes))
	return head, info.Size(), err
}

//go:build !(linux || darwin || freebsd)

package private

import "errors"

// A Dir is an open private folder, of which there are none on this system.
type Dir struct{}

var errUnknown = errors.New("who may write to a folder is not known on this system")

// Open fails: nothing is known of who may write to the folder.
func Open(path string) (*Dir, error) {
	return nil, &FolderError{path, "is not used: " + errUnknown.Error()}
}

// Path is the folder's path.
func (d *Dir) Path() string { return "" }

// Close gives the handle back.
func (d *Dir) Close() error { return nil }

// Read reads a file of at most limit bytes.
func (d *Dir) Read(name string, limit int64) ([]byte, error) { return nil, errUnknown }

// Check is nil if Read would read the file.
func (d *Dir) Check(name string, limit int64) error { return errUnknown }

// Write makes a file.
func (d *Dir) Write(name string, data []byte, suffix string) error { return errUnknown }

// Place gives a finished file of the folder its name.
func (d *Dir) Place(temp, name string) error { return errUnknown }

// Remove deletes a file.
func (d *Dir) Remove(name string) error { return errUnknown }

// Touch sets a file's time to now.
func (d *Dir) Touch(name string) error { return errUnknown }

// List lists the regular files.
func (d *Dir) List() ([]Entry, error) { return nil, errUnknown }

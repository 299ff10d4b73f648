// Package private keeps files in a folder that nobody but the user may change:
// what is in it gets executed. Everything is judged by open handles, so that
// nothing can be put in its place between the look and the use.
//
// A folder is private if it belongs to the user this process acts as and no group
// or other may write to it, and if each folder on the way to it belongs to that
// user or to root and is either closed to others too or keeps their hands off
// entries that are not theirs (the sticky bit, as /tmp has it). Root's own folders
// are root's: one that belongs to another user, as HOME does under sudo, is not
// private to root. Access control lists that grant more than the mode's group
// bits show are not looked at.
package private

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A FolderError says why a folder is not used.
type FolderError struct {
	Path string // of the folder, or of one on the way to it
	Why  string
}

func (e *FolderError) Error() string { return e.Path + " " + e.Why }

// An EntryError says why a file of a private folder is not read: it is something
// else than a file, not the user's alone, or too large.
type EntryError struct {
	Name, Why string
}

func (e *EntryError) Error() string { return e.Name + " " + e.Why }

// An Entry is a regular file of a folder.
type Entry struct {
	Name    string
	Size    int64 // bytes
	ModTime time.Time
}

// TempName is a name that nothing in a folder has, for a file in the making.
func TempName(suffix string) string { return fmt.Sprintf("%016x%s", rand.Uint64(), suffix) }

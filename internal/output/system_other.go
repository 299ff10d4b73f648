//go:build !unix

package output

import (
	"errors"
	"os"
)

// keep would lock the file: without locks, what is left of killed runs stays.
func keep(*os.File) bool { return true }

func removeUnused(string) {}

func writable(at place) bool { return at.info.Mode().Perm()&0o222 != 0 }

func notFolder(error) bool { return false }

// SyncFolder does nothing: folders have no sync here.
func SyncFolder(string) error { return nil }

func descriptorOf(string) (int, bool) { return 0, false }

func openDescriptor(int, string) (*os.File, error) {
	return nil, errors.New("open files have no names on this system")
}

func openDirect(at place) (*os.File, error) { return os.OpenFile(at.path, os.O_WRONLY, 0) }

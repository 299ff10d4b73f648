package output

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// replace writes a file beside its place and moves it there. last is asked before
// the move.
func replace(at place, name string, write func(io.Writer) error, last func() error) (err error) {
	removeLeft(at)
	file, err := create(at)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, plain(err))
	}
	moved := false
	defer func() {
		// Closing frees the lock, by which others see that the file is in use.
		if !moved {
			err = errors.Join(err, discard(file))
		}
	}()
	if err := fill(file, name, write); err != nil {
		return err
	}
	if err := settle(file, at); err != nil {
		return fmt.Errorf("writing %s: %w", name, plain(err))
	}
	if err := last(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), at.path); err != nil {
		return fmt.Errorf("writing %s: %w", name, plain(err))
	}
	moved = true
	if err := errors.Join(SyncFolder(filepath.Dir(at.path)), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, plain(err))
	}
	return nil
}

// settle gives a complete file the mode it is to have and hands it to the disk.
func settle(file *os.File, at place) error {
	if at.info != nil {
		if err := file.Chmod(at.info.Mode().Perm()); err != nil {
			return err
		}
	}
	return file.Sync()
}

// discard removes a file that did not get to its place.
func discard(file *os.File) error {
	err := os.Remove(file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, file.Close())
}

// temporary is how hidden files begin that are to become the one at a place. The
// name's digest keeps them as short as any name may be.
func temporary(at place) string {
	sum := sha256.Sum256([]byte(filepath.Base(at.path)))
	return fmt.Sprintf(".smelt-%x-", sum[:8])
}

const temporaryEnd = ".tmp"

// create makes the hidden file, locked as long as it is open.
func create(at place) (*os.File, error) {
	mode := fs.FileMode(0o666)
	if at.info != nil {
		mode = at.info.Mode().Perm() // nobody may read more of it than of the one before
	}
	for range 10 {
		path := filepath.Join(filepath.Dir(at.path), fmt.Sprintf("%s%016x%s", temporary(at), rand.Uint64(), temporaryEnd))
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return nil, err
		}
		if keep(file) {
			return file, nil
		}
		// Another run took it, before it was locked, for what is left of a killed one.
		if err := discard(file); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("other runs remove what this one is writing; wait until they have ended")
}

// probe makes and removes a hidden file, to find out early that there is no place.
func probe(at place) error {
	file, err := create(at)
	if err != nil {
		return err
	}
	return discard(file)
}

// removeLeft removes hidden files of earlier runs that were killed while they wrote
// to this place. What is in use, or cannot be removed, stays.
func removeLeft(at place) {
	dir, prefix := filepath.Dir(at.path), temporary(at)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, temporaryEnd) {
			removeUnused(filepath.Join(dir, name))
		}
	}
}

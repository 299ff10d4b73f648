package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A place is where a path leads.
type place struct {
	path       string      // of the file, all links followed; its folder exists
	info       fs.FileInfo // nil if nothing is there
	descriptor int         // one of this process that the path stands for, or -1
}

// direct says that the file is written to as it is, not replaced.
func (p place) direct() bool {
	return p.descriptor >= 0 || p.info != nil && !p.info.Mode().IsRegular()
}

// maxLinks is how many links are followed, as on Linux.
const maxLinks = 40

// resolve follows a path. Neither the file nor what a link at its end leads to need
// exist, but its folder must.
func resolve(path string) (place, error) {
	next := path
	for range maxLinks {
		dir, base := filepath.Split(next)
		if base == "" || base == "." || base == ".." {
			return place{}, fmt.Errorf("%s is a folder; give the name of a file", path)
		}
		// The folder's links are followed first: .. behind a link is not what its
		// spelling says.
		real, err := realFolder(dir)
		if err != nil {
			return place{}, err
		}
		at := place{path: filepath.Join(real, base), descriptor: -1}
		if n, ok := descriptorOf(at.path); ok {
			at.descriptor = n
			return at, nil
		}
		info, err := os.Lstat(at.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return at, nil
		case err != nil:
			return place{}, err
		case info.IsDir():
			return place{}, fmt.Errorf("%s is a folder; give the name of a file", path)
		case info.Mode()&fs.ModeSymlink == 0:
			at.info = info
			return at, nil
		}
		// What a link of /proc leads to, to a pipe say, has no path.
		if to, err := os.Stat(at.path); err == nil && !to.Mode().IsRegular() && !to.IsDir() {
			at.info = to
			return at, nil
		}
		if next, err = os.Readlink(at.path); err != nil {
			return place{}, err
		}
		if !filepath.IsAbs(next) {
			next = real + string(filepath.Separator) + next
		}
	}
	return place{}, fmt.Errorf("%s is a link that leads through more than %d others, or to itself; remove it or give another name", path, maxLinks)
}

// realFolder is a folder's path without links.
func realFolder(dir string) (string, error) {
	if dir == "" {
		dir = "."
	}
	path := dir
	if !filepath.IsAbs(dir) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = here + string(filepath.Separator) + dir // not joined: that would take .. by its spelling
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(real); err == nil && info.IsDir() {
			return real, nil
		}
	}
	dir = filepath.Clean(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: there is no such folder; make the folder first", dir)
	case err == nil || notFolder(err):
		return "", fmt.Errorf("%s is not a folder", dir)
	}
	return "", fmt.Errorf("%s: %w", dir, plain(err))
}

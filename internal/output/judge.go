package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"smelt.example/smelt/internal/option"
)

// force is Rules.Force in errors.
const force = option.Name("Force")

// judge finds out where the file goes, and that it may.
func (f *File) judge() (place, error) {
	at, err := resolve(f.path)
	if err != nil {
		return place{}, f.refuse("%w", err)
	}
	if at.descriptor >= 0 {
		return at, f.judgeDescriptor(at)
	}
	if at.direct() {
		if at.info.Mode()&fs.ModeDevice != 0 && at.info.Mode()&fs.ModeCharDevice == 0 && !f.rules.Force {
			return place{}, f.refuse("%s is a block device: writing to it destroys what is on the disk; %s does it", f.path, force)
		}
		return at, nil
	}
	if err := f.rules.inputs(at.path, at.info); err != nil {
		return place{}, f.refuse("%s: %w; give a file elsewhere", f.path, err)
	}
	if err := f.rules.kinds(filepath.Dir(at.path)); err != nil {
		return place{}, f.refuse("%s: %w; give a file elsewhere", f.path, err)
	}
	if at.info != nil && !f.rules.Force {
		return at, f.own(at)
	}
	return at, nil
}

// judgeDescriptor requires of a file that is open already that it is no input: the
// rest was the matter of who opened it.
func (f *File) judgeDescriptor(at place) error {
	file, err := openDescriptor(at.descriptor, f.path)
	if err != nil {
		return f.refuse("%s: %w", f.path, plain(err))
	}
	defer file.Close() // not written to
	info, err := file.Stat()
	if err != nil {
		return f.refuse("%s: %w", f.path, plain(err))
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := f.rules.inputs("", info); err != nil {
		return f.refuse("%s: %w; give a file elsewhere", f.path, err)
	}
	return nil
}

// own requires an existing file to be one that smelt made and the user may change.
func (f *File) own(at place) error {
	own, err := f.rules.Format.wrote(at.path)
	switch {
	case err != nil:
		return f.refuse("%s exists and cannot be read (%w); give another name, or %s to replace it", f.path, plain(err), force)
	case !own:
		return f.refuse("%s exists and is not %s that smelt wrote; give another name, or %s to replace it", f.path, f.rules.Format.name, force)
	case !writable(at):
		return f.refuse("%s is write-protected; give another name, or %s to replace it", f.path, force)
	}
	return nil
}

// inputs refuses a file that is one of the inputs, by whatever name, or lies in one.
// path is empty where only the file is known, info nil where there is none yet.
func (r *Rules) inputs(path string, info fs.FileInfo) error {
	for _, in := range r.Inputs {
		there, err := os.Stat(in.Path)
		if err != nil {
			continue // the command will say so
		}
		if !there.IsDir() {
			if info != nil && os.SameFile(info, there) {
				return fmt.Errorf("this is %s, which is read (%s)", in.What, in.Path)
			}
			continue
		}
		if path != "" && within(filepath.Dir(path), there) {
			return fmt.Errorf("it lies in the folder of %s, %s, where nothing is written", in.What, in.Path)
		}
		if info == nil {
			continue
		}
		if name := fileIn(in.Path, info); name != "" {
			return fmt.Errorf("this is a file of %s, %s", in.What, name)
		}
	}
	return nil
}

// within reports whether dir, a path without links, is the given folder or lies below.
func within(dir string, folder fs.FileInfo) bool {
	for {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, folder) {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
}

// fileIn looks for a file among those of a folder and below, links followed, and
// returns its name there.
func fileIn(dir string, info fs.FileInfo) (found string) {
	_ = filepath.WalkDir(dir+string(filepath.Separator), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what cannot be listed cannot be read either
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(info, there) {
			found = filepath.Clean(path)
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// kinds refuses a folder, a path without links, that is of one of the kinds or lies
// in one.
func (r *Rules) kinds(dir string) error {
	for {
		for _, k := range r.Kinds {
			if k.Is(dir) {
				return fmt.Errorf("%s is the folder of %s, where nothing is written", dir, k.What)
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}

// Folder judges whether files may be written into the folder at path, which need not
// exist: not within an input's folder, nor within one of the kinds. What is in it is
// judged file by file.
func Folder(path string, rules Rules) error {
	refuse := func(err error) error { return fmt.Errorf("%s: %s: %w; give another folder", rules.Flag, path, err) }
	real, err := nearest(path)
	if err != nil {
		return fmt.Errorf("%s: %w; give another folder", rules.Flag, err)
	}
	for _, in := range rules.Inputs {
		there, err := os.Stat(in.Path)
		switch {
		case err != nil: // the command will say so
		case there.IsDir() && within(real, there):
			return refuse(fmt.Errorf("it is or lies in the folder of %s, %s, where nothing is written", in.What, in.Path))
		}
	}
	if err := rules.kinds(real); err != nil {
		return refuse(err)
	}
	return nil
}

// Around refuses a folder that one of the inputs lies in: as a whole it is another's.
func Around(path string, rules Rules) error {
	folder, err := os.Stat(path)
	if err != nil {
		return nil // there is none yet
	}
	for _, in := range rules.Inputs {
		real, err := filepath.EvalSymlinks(in.Path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err == nil && within(filepath.Dir(real), folder) {
			return fmt.Errorf("%s: %s: %s, %s, lies in this folder; give another, which is empty or not there yet", rules.Flag, path, in.What, in.Path)
		}
	}
	return nil
}

// nearest is a folder's path without links, or that of the nearest one above it that
// exists.
func nearest(path string) (string, error) {
	dir := strings.TrimRight(path, string(filepath.Separator))
	if dir == "" {
		dir = path
	}
	for {
		real, err := filepath.EvalSymlinks(dir)
		switch {
		case err == nil:
			if info, err := os.Stat(real); err != nil {
				return "", err
			} else if !info.IsDir() {
				return "", fmt.Errorf("%s is not a folder", dir)
			}
			return filepath.Abs(real)
		case !errors.Is(err, fs.ErrNotExist) && !notFolder(err):
			return "", fmt.Errorf("%s: %w", path, plain(err))
		}
		if _, err := os.Lstat(dir); err == nil {
			return "", fmt.Errorf("%s is a link that leads nowhere", dir)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("%s: %w", path, plain(err))
		}
		dir = up
	}
}

package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/regular"
)

// Write writes the bundle to dir, which must not exist, be empty, or hold a bundle
// or what a compile that was killed left of one. The rename of bundle.json is the
// moment at which the new bundle takes the old one's place: before it, and if Write
// fails, the old one is whole. All files are on disk before, and were read back and
// found to be this bundle.
//
// One process writes to a folder at a time: another waits for it, up to lockWait.
// When ctx ends before bundle.json is renamed, the old bundle stays and the error is
// that of ctx.
//
// Files that smelt compile does not write are left alone. Those in the folder of a
// bundle that was replaced, which goes otherwise, are listed: left.
func (b *Bundle) Write(ctx context.Context, dir string) (left []string, err error) {
	if err := replaceable(dir); err != nil {
		return nil, err
	}
	files, err := b.parts()
	if err != nil {
		return nil, err
	}
	doc, err := b.document(digests(files))
	if err != nil {
		return nil, err
	}
	data, sum, err := seal(doc)
	if err != nil {
		return nil, err
	}
	if err := b.checkRecords(dir); err != nil {
		return nil, err
	}
	made, err := makeFolder(dir)
	if err != nil {
		return nil, err
	}
	unlock, held, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	w := writer{dir: dir, alone: held, old: versionIn(dir), begin: b.Begin}
	err = w.parts(ctx, doc.Folder, files)
	if err == nil {
		err = b.verifyWritten(dir, data)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = w.file(documentName, data)
	}
	if err != nil {
		w.undo(doc.Folder, made)
		return nil, err
	}
	b.Dir, b.seal, b.folder = dir, sum, doc.Folder
	if err := b.writeRecords(&w); err != nil {
		return nil, err
	}
	return w.clean(doc.Folder)
}

// replaceable refuses a folder that holds something other than a bundle.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	isLeft := func(e fs.DirEntry) bool {
		isRecord := func(r record) bool { return r.name == e.Name() && !r.strange(dir) }
		return e.IsDir() && folderName.MatchString(e.Name()) || tempName.MatchString(e.Name()) || slices.ContainsFunc((&Bundle{}).records(), isRecord)
	}
	data, err := regular.Read(filepath.Join(dir, documentName), maxDocument)
	switch {
	case err == nil && mark.Match(data):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return err
	case errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !isLeft(e) }):
		return nil // empty, or what is left of a bundle
	}
	return fmt.Errorf("%s exists and is not a bundle; choose another folder or remove it", dir)
}

// makeFolder makes dir unless it is there.
func makeFolder(dir string) (made bool, err error) {
	if _, err := os.Stat(dir); err == nil {
		return false, nil
	}
	return true, os.MkdirAll(dir, 0o777)
}

// folderName and tempName match the names of smelt compile's folders, and of its files
// before they are complete.
var (
	folderName = regexp.MustCompile(`^` + folderPrefix + `[0-9a-f]{32}$`)
	tempName   = regexp.MustCompile(`^\.smelt-[0-9a-f]{16}\.tmp$`)
)

// writer writes into the folder of a bundle.
type writer struct {
	dir   string
	alone bool   // the folder is locked: what is left there is nobody's
	old   string // version of the bundle there, or "none"
	begin progress.Begin
}

// versionIn is the version of the bundle in a folder, or "none".
func versionIn(dir string) string {
	data, err := regular.Read(filepath.Join(dir, documentName), maxDocument)
	if err != nil {
		return "none"
	}
	return versionOf(data)
}

// parts puts the files into their folder.
func (w *writer) parts(ctx context.Context, folder string, files []content) error {
	w.removeTemps()
	if err := w.folders(folder, files); err != nil {
		return err
	}
	if err := w.contents(ctx, filepath.Join(w.dir, folder), files); err != nil {
		return err
	}
	for _, name := range append(folders(files), "") {
		if err := output.SyncFolder(filepath.Join(w.dir, folder, name)); err != nil {
			return err
		}
	}
	// The new folder's entry must be on disk before bundle.json names it.
	return output.SyncFolder(w.dir)
}

// writersAtOnce are the files that are written beside each other: each waits for the
// disk, and a disk has many written in hardly more time than one.
const writersAtOnce = 16

// contents writes the files into the folder root. The error is the first one's.
func (w *writer) contents(ctx context.Context, root string, files []content) error {
	done, end := w.begin.Phase("writing files", int64(len(files)), "files")
	defer end()
	var writers sync.WaitGroup
	errs, free := make([]error, len(files)), make(chan struct{}, writersAtOnce)
	for i, f := range files {
		free <- struct{}{}
		writers.Go(func() {
			defer func() { <-free }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = w.part(filepath.Join(root, filepath.FromSlash(f.name)), f.data)
			}
			done(1)
		})
	}
	writers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// folders lists the folders of files within the bundle's folder, deepest first.
func folders(files []content) []string {
	var out []string
	for _, f := range files {
		for dir := filepath.Dir(filepath.FromSlash(f.name)); dir != "." && !slices.Contains(out, dir); dir = filepath.Dir(dir) {
			out = append(out, dir)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

// folders makes the folders for the files.
func (w *writer) folders(folder string, files []content) error {
	all := append(folders(files), "")
	slices.Reverse(all) // those above others first
	for _, name := range all {
		path := filepath.Join(w.dir, folder, name)
		// A link in the place of one would lead out of the bundle.
		if info, err := os.Lstat(path); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is %s; expected a folder that smelt compile made; remove it", path, regular.Kind(info.Mode()))
		}
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
	}
	return nil
}

// part writes a file of the bundle's own folder unless it is there: the folder's
// name stands for its contents, so that the bundle in use may have the same one.
func (w *writer) part(path string, data []byte) error {
	if have, err := regular.Read(path, int64(len(data))); err == nil && bytes.Equal(have, data) {
		return nil
	}
	temp, err := w.temp(data, syncPart)
	if err != nil {
		return err
	}
	return w.rename(temp, path)
}

// file writes a file of the folder dir, whole or not at all.
func (w *writer) file(name string, data []byte) error {
	temp, err := w.temp(data, (*os.File).Sync)
	if err != nil {
		return err
	}
	if err := w.rename(temp, filepath.Join(w.dir, name)); err != nil {
		return err
	}
	return output.SyncFolder(w.dir)
}

// temp writes data to a new file and has it on disk.
func (w *writer) temp(data []byte, sync func(*os.File) error) (path string, err error) {
	path = filepath.Join(w.dir, fmt.Sprintf(".smelt-%016x.tmp", rand.Uint64()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return "", w.refused(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(w.refused(err), os.Remove(path))
	}
	return path, err
}

// refused rewords an error of the system: it names the folder that could not be written
// into, in place of the hidden file.
func (w *writer) refused(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("writing into %s: %w; choose another folder, or see that this one can be written into and has room", w.dir, err)
}

func (w *writer) rename(temp, path string) error {
	err := os.Rename(temp, path)
	if err != nil {
		err = errors.Join(err, os.Remove(temp))
	}
	return err
}

// undo takes back what an unsuccessful write left. What cannot be removed goes with
// the next compile.
func (w *writer) undo(folder string, made bool) {
	if !w.alone {
		return
	}
	// The bundle there may be one with the same contents.
	if doc, err := regular.Read(filepath.Join(w.dir, documentName), maxDocument); err != nil || !bytes.Contains(doc, []byte(folder)) {
		w.removeParts(folder, ".")
	}
	if made {
		_ = os.Remove(w.dir) // stays if somebody put something there
	}
}

// removeTemps removes what a process that was killed was writing.
func (w *writer) removeTemps() {
	if !w.alone {
		return
	}
	entries, _ := os.ReadDir(w.dir) // what cannot be listed stays
	for _, e := range entries {
		if tempName.MatchString(e.Name()) && !e.IsDir() {
			_ = os.Remove(filepath.Join(w.dir, e.Name()))
		}
	}
}

// clean removes the folders that bundle.json does not name, and lists what is in
// them that smelt did not write.
func (w *writer) clean(keep string) (left []string, err error) {
	if !w.alone {
		return nil, nil
	}
	if w.old == "1" || w.old == "2" { // their files lie beside bundle.json
		for _, name := range []string{moduleName, "kernels"} {
			left = append(left, w.removeParts(".", name)...)
		}
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() && folderName.MatchString(e.Name()) && e.Name() != keep {
			left = append(left, w.removeParts(e.Name(), ".")...)
		}
	}
	return left, nil
}

// removeParts removes a file or folder of a folder of parts, and lists what stays.
func (w *writer) removeParts(folder, within string) (left []string) {
	root := filepath.Join(w.dir, folder)
	var dirs []string
	_ = fs.WalkDir(os.DirFS(root), within, func(name string, e fs.DirEntry, err error) error {
		path := filepath.Join(root, filepath.FromSlash(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			left = append(left, path)
		case e.IsDir():
			dirs = append(dirs, path)
		case !e.Type().IsRegular() || !partName.MatchString(name) || os.Remove(path) != nil:
			left = append(left, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := os.Remove(d); err != nil && len(left) == 0 {
			left = append(left, d)
		}
	}
	return left
}

//go:build linux || darwin || freebsd

package private

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Dir is an open private folder. Several goroutines and processes may use one at
// the same time.
type Dir struct {
	path string
	file *os.File
	user uint32
}

// forOthers are the bits of a mode with which others than the owner may write.
const forOthers = 0o022

// Open opens a folder, and makes it and those on the way to it for the user alone
// if need be. The error is a *FolderError if it is not private.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w := walk{user: uint32(os.Geteuid()), rest: strings.Split(abs, "/")}
	at, err := w.end()
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	if err := w.judge(at, true); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: abs, Err: err}
	}
	return &Dir{abs, os.NewFile(uintptr(fd), abs), w.user}, nil
}

// walk goes from the root to a folder, one name at a time.
type walk struct {
	user  uint32
	here  string   // where it is
	rest  []string // names to go
	links int      // followed
}

// maxLinks is how many links are followed, as systems have it.
const maxLinks = 40

// end is a handle of the folder, which is not judged itself.
func (w *walk) end() (at int, err error) {
	if at, err = w.root(); err != nil {
		return 0, err
	}
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if name == "" || name == "." {
			continue
		}
		if err := w.judge(at, false); err != nil {
			unix.Close(at)
			return 0, err
		}
		next, err := w.step(at, name)
		unix.Close(at)
		if err != nil {
			return 0, err
		}
		at = next
	}
	return at, nil
}

func (w *walk) root() (int, error) {
	w.here = "/"
	at, err := unix.Open("/", lookOnly|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	return at, nil
}

// step opens what a name leads to in a folder that has been judged.
func (w *walk) step(at int, name string) (int, error) {
	path := filepath.Join(w.here, name)
	const flags = lookOnly | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	next, err := unix.Openat(at, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(at, name, 0o700); err == nil || errors.Is(err, unix.EEXIST) {
			next, err = unix.Openat(at, name, flags, 0)
		}
	}
	if err == nil {
		w.here = path
		return next, nil
	}
	var info unix.Stat_t
	if unix.Fstatat(at, name, &info, unix.AT_SYMLINK_NOFOLLOW) != nil || info.Mode&unix.S_IFMT != unix.S_IFLNK {
		return 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if info.Uid != 0 && info.Uid != w.user {
		return 0, &FolderError{path, fmt.Sprintf("is a link of user %d, who can let it lead elsewhere", info.Uid)}
	}
	return w.follow(at, name, path)
}

// follow goes where a link leads.
func (w *walk) follow(at int, name, path string) (int, error) {
	if w.links++; w.links > maxLinks {
		return 0, &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(at, name, target)
	if err != nil {
		return 0, &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	to := string(target[:n])
	w.rest = append(strings.Split(to, "/"), w.rest...)
	if strings.HasPrefix(to, "/") {
		return w.root()
	}
	next, err := unix.Openat(at, ".", lookOnly|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: w.here, Err: err}
	}
	return next, nil
}

// judge refuses a folder in which others can put something in an entry's place.
// own is the folder that is looked for, and not one on the way to it.
func (w *walk) judge(at int, own bool) error {
	var info unix.Stat_t
	if err := unix.Fstat(at, &info); err != nil {
		return &fs.PathError{Op: "stat", Path: w.here, Err: err}
	}
	mode := uint32(info.Mode)
	switch {
	case own && info.Uid != w.user:
		return &FolderError{w.here, fmt.Sprintf("belongs to user %d, this process acts as user %d", info.Uid, w.user)}
	case info.Uid != w.user && info.Uid != 0:
		return &FolderError{w.here, fmt.Sprintf("belongs to user %d, who can change what is in it; this process acts as user %d", info.Uid, w.user)}
	case mode&forOthers != 0 && (own || mode&unix.S_ISVTX == 0):
		return &FolderError{w.here, fmt.Sprintf("can be written by others (mode %04o): chmod go-w %s", mode&0o7777, w.here)}
	}
	return nil
}

// Path is the folder's path.
func (d *Dir) Path() string { return d.path }

// Close gives the handle back.
func (d *Dir) Close() error { return d.file.Close() }

// fd is the handle, which the collector may close once nothing refers to d any more.
func (d *Dir) fd() int { return int(d.file.Fd()) }

// open opens an entry that is a file of the user's alone, of at most limit bytes.
func (d *Dir) open(name string, limit int64) (*os.File, int64, error) {
	defer runtime.KeepAlive(d)
	fd, err := unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK): // EMLINK on FreeBSD
		return nil, 0, &EntryError{name, "is a link"}
	case err != nil:
		return nil, 0, &fs.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	var info unix.Stat_t
	if err = unix.Fstat(fd, &info); err == nil {
		err = d.judge(name, &info, limit)
	}
	if err != nil {
		f.Close() // nothing was read
		return nil, 0, err
	}
	return f, info.Size, nil
}

func (d *Dir) judge(name string, info *unix.Stat_t, limit int64) error {
	switch {
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return &EntryError{name, "is no regular file"}
	case info.Uid != d.user:
		return &EntryError{name, fmt.Sprintf("belongs to user %d", info.Uid)}
	case info.Mode&forOthers != 0:
		return &EntryError{name, "can be written by others"}
	case info.Size > limit:
		return &EntryError{name, fmt.Sprintf("has %d bytes, more than %d", info.Size, limit)}
	}
	return nil
}

// Read reads a file of at most limit bytes. It fails with fs.ErrNotExist, an
// *EntryError, or as the system does.
func (d *Dir) Read(name string, limit int64) ([]byte, error) {
	f, size, err := d.open(name, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, size)
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil // shorter if it was cut meanwhile
}

// Check is nil if Read would read the file: for what only goes by names.
func (d *Dir) Check(name string, limit int64) error {
	f, _, err := d.open(name, limit)
	if err != nil {
		return err
	}
	return f.Close()
}

// Write makes a file, in place of whatever was there. It appears whole.
func (d *Dir) Write(name string, data []byte, suffix string) error {
	defer runtime.KeepAlive(d)
	temp := TempName(suffix)
	fd, err := unix.Openat(d.fd(), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "create", Path: filepath.Join(d.path, temp), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, temp))
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = unix.Unlinkat(d.fd(), temp, 0) // err says what matters
		return err
	}
	return d.Place(temp, name)
}

// Place gives a finished file of the folder its name, for the user alone, and
// takes away what had it: a link, not what it leads to; an empty folder; a folder
// with something in it is not deleted but renamed, to NAME.aside- and a number. A
// file that cannot be placed is removed.
func (d *Dir) Place(temp, name string) error {
	defer runtime.KeepAlive(d)
	err := unix.Fchmodat(d.fd(), temp, 0o600, 0)
	if err == nil {
		err = unix.Renameat(d.fd(), temp, d.fd(), name)
	}
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		if unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR) != nil {
			_ = unix.Renameat(d.fd(), name, d.fd(), name+".aside-"+TempName("")) // the next says what is wrong
		}
		err = unix.Renameat(d.fd(), temp, d.fd(), name)
	}
	if err != nil {
		_ = unix.Unlinkat(d.fd(), temp, 0) // err says what matters
		return &fs.PathError{Op: "rename", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

// Remove deletes a file, or a link and not what it leads to.
func (d *Dir) Remove(name string) error {
	defer runtime.KeepAlive(d)
	if err := unix.Unlinkat(d.fd(), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

// Touch sets a file's time to now.
func (d *Dir) Touch(name string) error {
	defer runtime.KeepAlive(d)
	now := unix.NsecToTimespec(time.Now().UnixNano())
	return unix.UtimesNanoAt(d.fd(), name, []unix.Timespec{now, now}, unix.AT_SYMLINK_NOFOLLOW)
}

// List lists the regular files.
func (d *Dir) List() ([]Entry, error) {
	defer runtime.KeepAlive(d)
	fd, err := unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, name := range names {
		var info unix.Stat_t
		if unix.Fstatat(d.fd(), name, &info, unix.AT_SYMLINK_NOFOLLOW) != nil || info.Mode&unix.S_IFMT != unix.S_IFREG {
			continue // gone since, or of no interest
		}
		entries = append(entries, Entry{name, info.Size, time.Unix(info.Mtim.Unix())})
	}
	return entries, nil
}

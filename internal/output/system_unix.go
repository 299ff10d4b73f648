//go:build unix

package output

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// keep locks a new file until it is closed, and reports whether it is still there.
// Where the file system has no locks, nobody removes the file either.
func keep(file *os.File) bool {
	if errors.Is(lock(file), unix.EWOULDBLOCK) {
		return false
	}
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(mine, there)
}

func lock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// removeUnused removes a file that no process has locked.
func removeUnused(path string) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close() // only read
	if lock(file) == nil {
		_ = os.Remove(path) // or it stays
	}
}

// writable reports whether the user may write to an existing file; root may, but is
// held to its mode.
func writable(at place) bool {
	return at.info.Mode().Perm()&0o222 != 0 && unix.Access(at.path, unix.W_OK) == nil
}

// SyncFolder has a folder's entries on disk. Not every file system can.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // it may be written to and not read
	}
	defer d.Close() // only read
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// notFolder tells of errors of paths that lead through a file.
func notFolder(err error) bool { return errors.Is(err, unix.ENOTDIR) }

// descriptors are names of what this process has open, without links.
var descriptors = regexp.MustCompile(`^(?:/dev/fd|/proc/([0-9]+)(?:/task/[0-9]+)?/fd)/([0-9]{1,6})$`)

// descriptorOf is the open file that a path stands for.
func descriptorOf(path string) (int, bool) {
	m := descriptors.FindStringSubmatch(path)
	if m == nil || m[1] != "" && m[1] != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	n, err := strconv.Atoi(m[2])
	return n, err == nil
}

// openDescriptor is another handle of the same open file.
func openDescriptor(n int, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openDirect opens what is no file for writing.
func openDirect(at place) (*os.File, error) {
	if at.info.Mode()&fs.ModeSocket == 0 {
		return os.OpenFile(at.path, os.O_WRONLY|unix.O_NOCTTY, 0)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), at.path)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: at.path}); err != nil {
		return nil, errors.Join(os.NewSyscallError("connect", err), file.Close())
	}
	return file, nil
}

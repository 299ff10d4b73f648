//go:build linux || darwin

package container

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes of f read-only.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if int64(int(size)) != size {
		return nil, errors.New("larger than this machine's address space")
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

// stampOf asks a handle.
func stampOf(f *os.File) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return stamp{}, os.NewSyscallError("fstat", err)
	}
	return stamp{st.Size, time.Duration(st.Mtim.Nano())}, nil
}

// mapAnonymous maps size bytes of zeros that take up no memory until written.
func mapAnonymous(size int64) ([]byte, error) {
	if int64(int(size)) != size {
		return nil, errors.New("larger than this machine's address space")
	}
	return unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// readAhead asks the system to read mapped pages soon. It is a hint: what comes of
// it is no error.
func readAhead(data []byte) { _ = unix.Madvise(data, unix.MADV_WILLNEED) }

func unmap(data []byte) error { return unix.Munmap(data) }

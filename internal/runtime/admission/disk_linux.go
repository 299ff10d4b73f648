package admission

import (
	"os"

	"golang.org/x/sys/unix"
)

// uncached has the next read of some bytes come from the disk.
func uncached(f *os.File, at, n int64) error {
	return unix.Fadvise(int(f.Fd()), at, n, unix.FADV_DONTNEED)
}

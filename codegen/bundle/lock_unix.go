//go:build unix

package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait bounds the wait for another compile that writes to the same folder: writing
// takes a second or two.
const lockWait = 30 * time.Second

// lock takes the folder for this process alone. The system takes it back when the
// process ends, however it does. The wait ends with ctx. On a file system without
// locks the folder is not held; compiles then remove nothing there that could be
// another's.
func lock(ctx context.Context, dir string) (unlock func() error, held bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return d.Close, true, nil
		case errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS):
			return d.Close, false, nil
		case ctx.Err() != nil:
			return nil, false, errors.Join(ctx.Err(), d.Close())
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, false, errors.Join(&os.PathError{Op: "lock", Path: dir, Err: err}, d.Close())
		case time.Now().After(end):
			return nil, false, errors.Join(fmt.Errorf("%s: another smelt compile has been writing there for %v; wait until it has ended, or choose another folder", dir, lockWait), d.Close())
		}
	}
}

// syncPart hands a file to the disk. On a Mac the disk may still hold it in its own
// memory: the full flush, which (*os.File).Sync asks for, takes milliseconds, and
// that of bundle.json, before its rename, covers all files before it.
func syncPart(f *os.File) error {
	for {
		if err := unix.Fsync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fsync", err)
		}
	}
}

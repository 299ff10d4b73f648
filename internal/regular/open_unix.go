//go:build unix

package regular

import (
	"os"

	"golang.org/x/sys/unix"
)

// open opens a file, or what is in its place, without waiting: for a FIFO's
// writer, for a device, or by making a terminal this process's own.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// wait lets reads of a regular file wait, as those of os.Open do: a few file
// systems know reads that do not.
func wait(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetNonblock(int(fd), false) }); err != nil {
		return err
	}
	return os.NewSyscallError("fcntl", failed)
}

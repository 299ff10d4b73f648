//go:build unix

package cpu

import "golang.org/x/sys/unix"

// reserve gets memory that begins at a page and costs nothing until touched.
func reserve(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, max(n, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func release(b []byte) error { return unix.Munmap(b) }

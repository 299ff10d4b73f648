//go:build unix

package fault

import "golang.org/x/sys/unix"

// reserve gets memory that Go neither moves nor frees.
func reserve(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func release(b []byte) error { return unix.Munmap(b) }

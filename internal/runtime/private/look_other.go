//go:build darwin || freebsd

package private

import "golang.org/x/sys/unix"

// lookOnly opens a folder to go through it.
const lookOnly = unix.O_RDONLY

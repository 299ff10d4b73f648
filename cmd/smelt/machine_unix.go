//go:build linux || darwin

package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// peakMemory is the most memory the process has had, in bytes.
func peakMemory() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss) // in bytes there, in kB on Linux
	}
	return int64(u.Maxrss) << 10
}

// kernelName is the kernel and its release: Linux 6.1.0, Darwin 24.1.0. The name of
// the computer, which uname also tells, is nobody's business.
func kernelName() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

package synthetic

import (
	"os"

	"golang.org/x/sys/unix"
)

// FreeMemory is how many bytes can be had without compressing or swapping: free
// pages, and those of files and of purgeable caches, which give way. known is
// false where the kernel does not say.
func FreeMemory() (bytes int64, known bool) {
	for _, kind := range []string{"vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count"} {
		n, err := unix.SysctlUint32(kind)
		if err != nil {
			return 0, false
		}
		bytes += int64(n) * int64(os.Getpagesize())
	}
	return bytes, true
}

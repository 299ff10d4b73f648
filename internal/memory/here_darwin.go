package memory

import (
	"os"

	"golang.org/x/sys/unix"
)

// Here is this process's memory. Available are free pages, and those of files and of
// purgeable caches, which give way without compressing or swapping.
func Here() Memory {
	var m Memory
	if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
		m.Total = Figure{int64(n), "hw.memsize"}
	}
	bytes := int64(0)
	for _, kind := range []string{"vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count"} {
		n, err := unix.SysctlUint32(kind)
		if err != nil {
			return m
		}
		bytes += int64(n) * int64(os.Getpagesize())
	}
	m.Available = Figure{bytes, "free pages and those of files, by vm.page_free_count and its like"}
	return m
}

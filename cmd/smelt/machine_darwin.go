package main

import "golang.org/x/sys/unix"

// processorName is what the system calls the processor: Apple M3 Ultra.
func processorName() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

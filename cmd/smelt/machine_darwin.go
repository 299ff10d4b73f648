package main

import "golang.org/x/sys/unix"

// processorName is the system's name of the processor: Apple M3 Ultra.
func processorName() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

// systemName is macOS with its version and build.
func systemName() string {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return "macOS"
	}
	build, err := unix.Sysctl("kern.osversion")
	if err != nil {
		return "macOS " + version
	}
	return "macOS " + version + " (" + build + ")"
}

// computerName is Apple's name for the machine: Mac15,14.
func computerName() string {
	name, err := unix.Sysctl("hw.model")
	if err != nil {
		return ""
	}
	return name
}

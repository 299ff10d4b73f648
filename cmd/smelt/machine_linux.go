package main

import (
	"bufio"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// processorName is what /proc/cpuinfo calls the first processor; empty if it
// does not say.
func processorName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// systemName is what the distribution calls itself.
func systemName() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); is {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}

// computerName is the maker's name for the machine; not known here.
func computerName() string { return "" }

// totalMemory is what the machine has, in bytes; 0 if it is not known.
func totalMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}

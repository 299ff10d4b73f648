package synthetic

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FreeMemory is how many bytes can be had without swapping: what the kernel
// estimates, or less where a control group (version 2) of this process's is
// limited. known is false where the kernel does not say.
func FreeMemory() (bytes int64, known bool) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	kilobytes, known := field(string(info), "MemAvailable:")
	bytes = kilobytes * 1024
	groups, _ := os.ReadFile("/proc/self/cgroup") // none is no limit
	for line := range strings.Lines(string(groups)) {
		if group, unified := strings.CutPrefix(strings.TrimSpace(line), "0::"); unified {
			bytes = min(bytes, groupMemory("/sys/fs/cgroup", group, bytes))
		}
	}
	return bytes, known
}

// groupMemory is the least room of a control group and those it is in, at most
// the given bytes. Cached files count as room: they give way.
func groupMemory(root, group string, most int64) int64 {
	for {
		dir := filepath.Join(root, group)
		limit, limited := number(filepath.Join(dir, "memory.max"))
		used, counted := number(filepath.Join(dir, "memory.current"))
		if limited && counted {
			stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
			cached, _ := field(string(stat), "inactive_file")
			most = min(most, max(0, limit-used+cached))
		}
		if group == "/" || group == "." || group == "" {
			return most
		}
		group = filepath.Dir(group)
	}
}

// number reads a file that holds one number; "max" is none.
func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field finds the number after a name at the start of a line.
func field(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

package memory

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/message"
)

// OfLinux reads the files of the kernel that lie under a root: /proc and, with the
// limits of control groups of either version, what /proc/self/mountinfo says is
// mounted. What cannot be read limits nothing.
func OfLinux(root string) Memory {
	var m Memory
	info := read(root, "/proc/meminfo")
	if kB, ok := field(info, "MemTotal:"); ok {
		m.Total = m.Total.least(kB<<10, "MemTotal of /proc/meminfo")
	}
	if kB, ok := field(info, "MemAvailable:"); ok {
		m.Available = m.Available.least(kB<<10, "MemAvailable of /proc/meminfo")
	}
	whole := m.Total
	for _, g := range groups(read(root, "/proc/self/cgroup"), read(root, "/proc/self/mountinfo")) {
		g.limit(root, whole, &m)
	}
	return m
}

// version is how a version of control groups names its files. Limits bound usage,
// of which the cached parts are files that give way.
type version struct {
	filesystem string
	limits     []string
	usage      string
	cached     []string // fields of memory.stat
}

var (
	v1 = version{"cgroup", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}}
	v2 = version{"cgroup2", []string{"memory.max", "memory.high"}, "memory.current", []string{"inactive_file", "active_file"}}
)

// group is a control group: the folder where its hierarchy is mounted, and its path
// below that.
type group struct {
	version
	mount, path string
}

// limit lowers the figures to what the group and those that it is in allow. whole is
// the machine's memory.
func (g group) limit(root string, whole Figure, m *Memory) {
	for path := g.path; ; path = filepath.Dir(path) {
		dir := filepath.Join(g.mount, path)
		for _, name := range g.limits {
			limit, ok := number(read(root, filepath.Join(dir, name)))
			if !ok || whole.Known() && limit >= whole.Bytes {
				continue // none is "max", or more than there is
			}
			used := g.used(root, dir)
			m.Total = m.Total.least(limit, filepath.Join(dir, name))
			m.Available = m.Available.least(limit-used, filepath.Join(dir, name)+" of "+message.Bytes(limit)+", less "+message.Bytes(used)+" in use")
		}
		if path == "/" {
			return
		}
	}
}

// used is what the group holds and cannot give up.
func (g group) used(root, dir string) int64 {
	used, _ := number(read(root, filepath.Join(dir, g.usage)))
	stat := read(root, filepath.Join(dir, "memory.stat"))
	for _, name := range g.cached {
		n, _ := field(stat, name)
		used -= n
	}
	return max(used, 0)
}

// groups are the control groups that may limit this process's memory, as
// /proc/self/cgroup and /proc/self/mountinfo have them.
func groups(cgroup, mounts string) (all []group) {
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		g := group{version: v1}
		switch {
		case parts[0] == "0" && parts[1] == "":
			g.version = v2
		case !slices.Contains(strings.Split(parts[1], ","), "memory"):
			continue
		}
		if g.mounted(parts[2], mounts) {
			all = append(all, g)
		}
	}
	return all
}

// mounted finds where a group's hierarchy is mounted.
func (g *group) mounted(path, mounts string) bool {
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		if what[0] != g.filesystem || g.filesystem == v1.filesystem && !slices.Contains(strings.Split(what[2], ","), "memory") {
			continue
		}
		top := unescape(where[3])
		g.mount, g.path = unescape(where[4]), "/"
		// A container may see its own group alone, under the path that others have for it.
		if rest, below := strings.CutPrefix(path, strings.TrimSuffix(top, "/")); below && (rest == "" || rest[0] == '/') {
			g.path = filepath.Clean("/" + rest)
		}
		return true
	}
	return false
}

// unescape undoes what mountinfo does to spaces and the like: \040.
func unescape(s string) string {
	for at := strings.IndexByte(s, '\\'); at >= 0 && at+4 <= len(s); {
		n, err := strconv.ParseUint(s[at+1:at+4], 8, 8)
		if err != nil {
			return s
		}
		s = s[:at] + string([]byte{byte(n)}) + s[at+4:]
		next := strings.IndexByte(s[at+1:], '\\')
		if next < 0 {
			return s
		}
		at += 1 + next
	}
	return s
}

// read is the beginning of a file, "" where it cannot be read.
func read(root, path string) string {
	const most = 1 << 20
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, most)) // what was read until then
	return string(text)
}

// number is the only word of a text; "max" is none.
func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}

// field is the number after a name at the start of a line.
func field(text, name string) (int64, bool) {
	const most = 1 << 50 // kB or bytes, so that sums of a few fit
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == name {
			n, ok := number(words[1])
			return n, ok && n <= most
		}
	}
	return 0, false
}

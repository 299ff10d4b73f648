package memory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree is a machine's files by their paths.
type tree map[string]string

func (t tree) write(tb testing.TB) (root string) {
	tb.Helper()
	root = tb.TempDir()
	for name, text := range t {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

// with is the tree with more files, or others.
func (t tree) with(more tree) tree {
	out := tree{}
	for _, files := range []tree{t, more} {
		for name, text := range files {
			out[name] = text
		}
	}
	return out
}

const (
	mount2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	mount1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	none1  = "9223372036854771712\n"
)

func TestOfLinux(t *testing.T) {
	const total, available = "MemTotal of /proc/meminfo", "MemAvailable of /proc/meminfo"
	machine := tree{"proc/meminfo": "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n"}
	bare := Memory{Figure{24000000 << 10, total}, Figure{20000000 << 10, available}}
	v2 := machine.with(tree{"proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": mount2})
	v1 := machine.with(tree{"proc/self/cgroup": "5:cpu:/x\n4:hugetlb,memory:/a/b\n0::/\n", "proc/self/mountinfo": mount1})
	limited := func(bytes int64, name string, left int64, why string) Memory {
		return Memory{Figure{bytes, name}, Figure{left, name + " of " + why}}
	}
	for name, c := range map[string]struct {
		files tree
		want  Memory
	}{
		"nothing to read":                 {tree{}, Memory{}},
		"no control groups":               {machine, bare},
		"an old kernel":                   {tree{"proc/meminfo": "MemTotal: 24000000 kB\nMemFree: 5 kB\n"}, Memory{Total: bare.Total}},
		"numbers that are none":           {tree{"proc/meminfo": "MemTotal: many kB\nMemAvailable: -5 kB\n"}, Memory{}},
		"numbers beyond all memory":       {tree{"proc/meminfo": "MemTotal: 9223372036854775807 kB\nMemAvailable: 99999999999999999999 kB\n"}, Memory{}},
		"no limits":                       {v2.with(tree{"sys/fs/cgroup/a/b/c/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "max\n"}), bare},
		"limits that cannot be read":      {v2.with(tree{"sys/fs/cgroup/a/b/c/memory.max/is": "a folder"}), bare},
		"a limit above what there is":     {v2.with(tree{"sys/fs/cgroup/a/b/c/memory.max": "99000000000\n", "sys/fs/cgroup/a/b/c/memory.current": "98000000000\n"}), bare},
		"groups that are mounted nowhere": {machine.with(tree{"proc/self/cgroup": "0::/a\n4:memory:/a\n", "sys/fs/cgroup/a/memory.max": "1000000000\n"}), bare},
		"own limit": {
			v2.with(tree{"sys/fs/cgroup/a/b/c/memory.max": "2000000000\n", "sys/fs/cgroup/a/b/c/memory.current": "500000000\n"}),
			limited(2e9, "/sys/fs/cgroup/a/b/c/memory.max", 15e8, "2.00 GB, less 500.0 MB in use"),
		},
		"use that cannot be read": {
			v2.with(tree{"sys/fs/cgroup/a/b/c/memory.max": "2000000000\n"}),
			limited(2e9, "/sys/fs/cgroup/a/b/c/memory.max", 2e9, "2.00 GB, less 0 bytes in use"),
		},
		"the tightest in the middle": {
			v2.with(tree{
				"sys/fs/cgroup/a/b/c/memory.max": "9000000000\n", "sys/fs/cgroup/a/b/c/memory.current": "500000000\n",
				"sys/fs/cgroup/a/b/memory.max": "3000000000\n", "sys/fs/cgroup/a/b/memory.current": "1000000000\n",
				"sys/fs/cgroup/a/memory.max": "8000000000\n", "sys/fs/cgroup/a/memory.current": "2000000000\n",
			}),
			limited(3e9, "/sys/fs/cgroup/a/b/memory.max", 2e9, "3.00 GB, less 1.00 GB in use"),
		},
		"a large group that is nearly full around a small one": {
			v2.with(tree{
				"sys/fs/cgroup/a/b/c/memory.max": "3000000000\n", "sys/fs/cgroup/a/b/c/memory.current": "0\n",
				"sys/fs/cgroup/a/memory.max": "8000000000\n", "sys/fs/cgroup/a/memory.current": "7900000000\n",
			}),
			Memory{Figure{3e9, "/sys/fs/cgroup/a/b/c/memory.max"}, Figure{1e8, "/sys/fs/cgroup/a/memory.max of 8.00 GB, less 7.90 GB in use"}},
		},
		"memory.high is lower": {
			v2.with(tree{"sys/fs/cgroup/a/memory.max": "4000000000\n", "sys/fs/cgroup/a/memory.high": "3000000000\n", "sys/fs/cgroup/a/memory.current": "1\n"}),
			limited(3e9, "/sys/fs/cgroup/a/memory.high", 3e9-1, "3.00 GB, less 1 byte in use"),
		},
		"files of the page cache give way": {
			v2.with(tree{
				"sys/fs/cgroup/a/memory.max": "4000000000\n", "sys/fs/cgroup/a/memory.current": "3900000000\n",
				"sys/fs/cgroup/a/memory.stat": "anon 400000000\nfile 3500000000\ninactive_file 3000000000\nactive_file 400000000\n",
			}),
			limited(4e9, "/sys/fs/cgroup/a/memory.max", 35e8, "4.00 GB, less 500.0 MB in use"),
		},
		"more used than allowed": {
			v2.with(tree{"sys/fs/cgroup/a/memory.max": "4000000000\n", "sys/fs/cgroup/a/memory.current": "4100000000\n"}),
			limited(4e9, "/sys/fs/cgroup/a/memory.max", 0, "4.00 GB, less 4.10 GB in use"),
		},
		"a container that sees its own group as the root": {
			machine.with(tree{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2,
				"sys/fs/cgroup/memory.max": "2000000000\n", "sys/fs/cgroup/memory.current": "1000000000\n",
			}),
			limited(2e9, "/sys/fs/cgroup/memory.max", 1e9, "2.00 GB, less 1.00 GB in use"),
		},
		"version 1": {
			v1.with(tree{
				"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": none1,
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "5000000000\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "2000000000\n",
				"sys/fs/cgroup/memory/a/memory.stat": "inactive_file 7\ntotal_inactive_file 500000000\ntotal_active_file 500000000\n",
			}),
			limited(5e9, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", 4e9, "5.00 GB, less 1.00 GB in use"),
		},
		"version 1 without a limit": {v1.with(tree{"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": none1, "sys/fs/cgroup/memory/memory.limit_in_bytes": none1}), bare},
		"version 1, where a container sees its own group under another's path": {
			machine.with(tree{
				"proc/self/cgroup":                           "4:memory:/docker/ab\n",
				"proc/self/mountinfo":                        strings.Replace(mount1, "0:32 / ", "0:32 /docker/ab ", 1),
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "5000000000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000000\n",
			}),
			limited(5e9, "/sys/fs/cgroup/memory/memory.limit_in_bytes", 4e9, "5.00 GB, less 1.00 GB in use"),
		},
		"version 1, where another group's path begins alike": {
			machine.with(tree{
				"proc/self/cgroup":                                "4:memory:/a-b/b\n",
				"proc/self/mountinfo":                             strings.Replace(mount1, "0:32 / ", "0:32 /a ", 1),
				"sys/fs/cgroup/memory/memory.limit_in_bytes":      "5000000000\n",
				"sys/fs/cgroup/memory/-b/b/memory.limit_in_bytes": "1\n",
			}),
			limited(5e9, "/sys/fs/cgroup/memory/memory.limit_in_bytes", 5e9, "5.00 GB, less 0 bytes in use"),
		},
		"both versions, and a path with a space": {
			machine.with(tree{
				"proc/self/cgroup": "4:memory:/a\n0::/b\n", "proc/self/mountinfo": mount1 + "9 9 0:1 / /my\\040groups rw - cgroup2 none rw\n",
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "5000000000\n",
				"my groups/b/memory.max":                       "2000000000\n", "my groups/b/memory.current": "500000000\n",
			}),
			limited(2e9, "/my groups/b/memory.max", 15e8, "2.00 GB, less 500.0 MB in use"),
		},
	} {
		if diff := cmp.Diff(c.want, OfLinux(c.files.write(t))); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// FuzzGroups: whatever the kernel's files say, what comes of them are paths, and
// their groups end at the root.
func FuzzGroups(f *testing.F) {
	f.Add("0::/a/b\n", mount2)
	f.Add("4:hugetlb,memory:/a\n0::/\n", mount1)
	f.Add("4:memory:/docker/ab/../..\n", `1 1 0:1 /docker/ab /x\04 rw - cgroup a memory`)
	f.Add("0::/"+strings.Repeat("a/", 5000), `1 1 0:1 / \040\\\134040 rw - cgroup2 a b`)
	f.Fuzz(func(t *testing.T, cgroup, mounts string) {
		root := t.TempDir()
		for _, g := range groups(cgroup, mounts) {
			if len(g.path) > 1000 { // the kernel's are not, and each folder is looked at
				continue
			}
			if !filepath.IsAbs(g.path) || filepath.Clean(g.path) != g.path {
				t.Fatalf("%q of %q, mounted as %q", g.path, cgroup, mounts)
			}
			var m Memory
			if g.limit(root, Figure{}, &m); m != (Memory{}) {
				t.Fatalf("nothing is there, and the limit is %v", m)
			}
		}
	})
}

// TestHere: the machine that runs the tests has memory, some of it free.
func TestHere(t *testing.T) {
	m := Here()
	if m == (Memory{}) {
		t.Skip("this system does not say how much memory there is")
	}
	if m.Total.Bytes < 1<<26 || m.Available.Bytes < 1<<20 || m.Available.Bytes > m.Total.Bytes {
		t.Errorf("%+v", m)
	}
}

//go:build linux || darwin || freebsd

package private

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// must ends the test on an error of making what is tested.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder makes a folder of a mode, whatever the umask is.
func folder(t testing.TB, path string, mode fs.FileMode) string {
	t.Helper()
	must(t, os.Mkdir(path, 0o700))
	must(t, os.Chmod(path, mode))
	return path
}

// base is an empty private folder.
func base(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Chmod(dir, 0o700))
	return dir
}

// needRoot skips a test that gives files to another user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
}

const stranger = 54321

func TestOpen(t *testing.T) {
	for name, make := range map[string]func(dir string) string{
		"there":                 func(dir string) string { return folder(t, dir+"/a", 0o700) },
		"others may read":       func(dir string) string { return folder(t, dir+"/a", 0o755) },
		"to be made":            func(dir string) string { return dir + "/a/b/c" },
		"below a sticky folder": func(dir string) string { return folder(t, dir+"/tmp", 0o777|fs.ModeSticky) + "/a" },
		"by a link":             func(dir string) string { must(t, os.Symlink(folder(t, dir+"/a", 0o700), dir+"/l")); return dir + "/l" },
		"by a link on the way":  func(dir string) string { must(t, os.Symlink(dir, dir+"/l")); return dir + "/l/l/l/a" },
		"by a link upwards": func(dir string) string {
			folder(t, dir+"/a", 0o700)
			must(t, os.Symlink("../../../runtime/internal/b", dir+"/a/l"))
			return dir + "/a/l"
		},
		"the user's link in /tmp": func(dir string) string {
			must(t, os.Symlink(dir, folder(t, dir+"/tmp", 0o777|fs.ModeSticky)+"/l"))
			return dir + "/tmp/l/a"
		},
		"others may only go through": func(dir string) string { return folder(t, dir+"/a", 0o711) + "/b" },
	} {
		t.Run(name, func(t *testing.T) {
			path := make(base(t))
			d, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			must(t, d.Write("x", []byte("hello"), ".tmp"))
			if data, err := os.ReadFile(path + "/x"); err != nil || string(data) != "hello" || d.Path() != path {
				t.Errorf("%q, %v in %s", data, err, d.Path())
			}
			if info, err := os.Stat(path); strings.HasPrefix(name, "to be made") && (err != nil || info.Mode().Perm() != 0o700) {
				t.Errorf("made with mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	chown := func(path string) string { must(t, os.Lchown(path, stranger, stranger)); return path }
	for _, c := range []struct {
		name string
		root bool
		make func(dir string) string
		want string
	}{
		{"others may write", false, func(dir string) string { return folder(t, dir+"/a", 0o777) }, "/a can be written by others (mode 0777): chmod go-w "},
		{"the group may write", false, func(dir string) string { return folder(t, dir+"/a", 0o770) }, "/a can be written by others (mode 0770)"},
		{"others may write and not read", false, func(dir string) string { return folder(t, dir+"/a", 0o702) }, "(mode 0702)"},
		{"a shared folder itself", false, func(dir string) string { return folder(t, dir+"/a", 0o777|fs.ModeSticky) }, "(mode 1777)"},
		{"below one that others may write", false, func(dir string) string { return folder(t, dir+"/a", 0o777) + "/b" }, "/a can be written by others"},
		{"far below one that the group may write", false, func(dir string) string { return folder(t, dir+"/a", 0o775) + "/b/c/d" }, "/a can be written by others (mode 0775)"},
		{"a link in one that others may write", false, func(dir string) string {
			must(t, os.Symlink(folder(t, dir+"/private", 0o700), folder(t, dir+"/a", 0o777)+"/l"))
			return dir + "/a/l"
		}, "/a can be written by others"},
		{"a link to one that others may write", false, func(dir string) string {
			must(t, os.Symlink(folder(t, dir+"/a", 0o777), dir+"/l"))
			return dir + "/l"
		}, "/a can be written by others"},
		{"a file", false, func(dir string) string { must(t, os.WriteFile(dir+"/a", nil, 0o600)); return dir + "/a" }, "not a directory"},
		{"a file on the way", false, func(dir string) string { must(t, os.WriteFile(dir+"/a", nil, 0o600)); return dir + "/a/b" }, "not a directory"},
		{"a FIFO", false, func(dir string) string { must(t, unix.Mkfifo(dir+"/a", 0o600)); return dir + "/a/b" }, "not a directory"},
		{"links in a circle", false, func(dir string) string {
			must(t, os.Symlink("m", dir+"/l"))
			must(t, os.Symlink("l", dir+"/m"))
			return dir + "/l"
		}, "too many levels of symbolic links"},

		{"another user's", true, func(dir string) string { return chown(folder(t, dir+"/a", 0o700)) }, "/a belongs to user 54321"},
		{"another user's home", true, func(dir string) string { return chown(folder(t, dir+"/home", 0o755)) + "/.cache/smelt" }, "/home belongs to user 54321, who can change what is in it"},
		{"another user's link", true, func(dir string) string {
			must(t, os.Symlink(folder(t, dir+"/a", 0o700), folder(t, dir+"/tmp", 0o777|fs.ModeSticky)+"/l"))
			return chown(dir + "/tmp/l")
		}, "/tmp/l is a link of user 54321"},
		{"another user's folder in a shared one", true, func(dir string) string {
			return chown(folder(t, folder(t, dir+"/tmp", 0o777|fs.ModeSticky)+"/a", 0o755)) + "/b"
		}, "/tmp/a belongs to user 54321"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				needRoot(t)
			}
			path := c.make(base(t))
			d, err := Open(path)
			if err == nil {
				t.Fatalf("%s is used: %v", path, d.Close())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestOpenRefusesRoots: what root alone can write is not the user's either.
func TestOpenRefusesRoots(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root's folders are this user's")
	}
	if d, err := Open("/usr"); err == nil || !strings.Contains(err.Error(), "/usr belongs to user 0, this process acts as user") {
		t.Errorf("%v, %v", d, err)
	}
}

// entries are what may have a name in a private folder, and must not be read.
var entries = []struct {
	name string
	root bool
	make func(t testing.TB, path string)
	want string
}{
	{"link to a device", false, func(t testing.TB, path string) { must(t, os.Symlink("/dev/zero", path)) }, "is a link"},
	{"link to a file", false, func(t testing.TB, path string) {
		must(t, os.WriteFile(path+".other", []byte("other"), 0o600))
		must(t, os.Symlink(path+".other", path))
	}, "is a link"},
	{"link to nothing", false, func(t testing.TB, path string) { must(t, os.Symlink("nowhere", path)) }, "is a link"},
	{"link to itself", false, func(t testing.TB, path string) { must(t, os.Symlink(filepath.Base(path), path)) }, "is a link"},
	{"FIFO", false, func(t testing.TB, path string) { must(t, unix.Mkfifo(path, 0o600)) }, "is no regular file"},
	{"empty folder", false, func(t testing.TB, path string) { must(t, os.Mkdir(path, 0o700)) }, "is no regular file"},
	{"folder with a file", false, func(t testing.TB, path string) {
		must(t, os.Mkdir(path, 0o700))
		must(t, os.WriteFile(path+"/keep", []byte("keep"), 0o600))
	}, "is no regular file"},
	{"too large", false, func(t testing.TB, path string) {
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Truncate(path, 1<<40))
	}, "has 1099511627776 bytes, more than 1000"},
	{"a byte too large", false, func(t testing.TB, path string) { must(t, os.WriteFile(path, make([]byte, 1001), 0o600)) }, "has 1001 bytes"},
	{"others may write", false, func(t testing.TB, path string) {
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chmod(path, 0o602))
	}, "can be written by others"},
	{"the group may write", false, func(t testing.TB, path string) {
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chmod(path, 0o620))
	}, "can be written by others"},
	{"socket", false, func(t testing.TB, path string) {
		addr, err := net.ResolveUnixAddr("unix", path)
		must(t, err)
		l, err := net.ListenUnix("unix", addr)
		must(t, err)
		l.SetUnlinkOnClose(false)
		must(t, l.Close())
	}, ""}, // no system opens it
	{"another user's file", true, func(t testing.TB, path string) {
		must(t, os.WriteFile(path, []byte("planted"), 0o600))
		must(t, os.Chown(path, stranger, stranger))
	}, "belongs to user 54321"},
}

// TestEntries: what is no file of the user's alone is not read, and is replaced.
func TestEntries(t *testing.T) {
	for _, c := range entries {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				needRoot(t)
			}
			// A socket's path is short.
			dir, err := os.MkdirTemp("", "private")
			must(t, err)
			defer os.RemoveAll(dir)
			d, err := Open(dir)
			must(t, err)
			defer d.Close()
			c.make(t, dir+"/x")
			for _, read := range []func() error{
				func() error { _, err := d.Read("x", 1000); return err },
				func() error { return d.Check("x", 1000) },
			} {
				if err := read(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			}
			must(t, d.Write("x", []byte("new"), ".tmp"))
			if data, err := d.Read("x", 1000); err != nil || string(data) != "new" {
				t.Errorf("then %q, %v", data, err)
			}
			// What a link led to and what a folder held is still there.
			if data, err := os.ReadFile(dir + "/x.other"); !errors.Is(err, fs.ErrNotExist) && string(data) != "other" {
				t.Errorf("the link was followed: %q, %v", data, err)
			}
			kept, err := filepath.Glob(dir + "/x.aside-*/keep")
			if must(t, err); (c.name == "folder with a file") != (len(kept) == 1) {
				t.Errorf("kept: %q", kept)
			}
			if left, err := filepath.Glob(dir + "/*.tmp"); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

// TestDir: files are listed, touched and removed; links are not followed.
func TestDir(t *testing.T) {
	dir := base(t)
	d, err := Open(dir)
	must(t, err)
	defer d.Close()
	must(t, d.Write("a", []byte("abc"), ".tmp"))
	must(t, os.Symlink("a", dir+"/l"))
	must(t, os.Mkdir(dir+"/d", 0o700))
	list, err := d.List()
	if err != nil || len(list) != 1 || list[0].Name != "a" || list[0].Size != 3 || list[0].ModTime.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	must(t, d.Touch("a"))
	must(t, d.Remove("l"))
	must(t, d.Check("a", 3))
	must(t, d.Remove("a"))
	for _, err := range []error{d.Remove("a"), d.Check("a", 3), d.Place("a", "b")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of a file that is not there: %v", err)
		}
	}
	if _, err := d.Read("a", 3); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

//go:build unix

package regular

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// within fails the test when f takes so long that it must be blocked.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("blocked")
	}
}

// others makes one of everything that is not a regular file, by its name.
func others(t *testing.T) map[string]string {
	dir, err := os.MkdirTemp("", "smelt") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return map[string]string{"a folder": dir, "a FIFO": fifo, "a socket": socket, "a character device": "/dev/zero"}
}

func TestOpenOthers(t *testing.T) {
	for kind, path := range others(t) {
		for _, p := range []string{path, link(t, path), link(t, link(t, path))} {
			within(t, func() {
				want := p + " is " + kind + "; expected a regular file"
				if _, _, err := Open(p); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Open: %v, expected %s", err, want)
				}
				if _, err := Read(p, 1<<20); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Read: %v, expected %s", err, want)
				}
			})
		}
	}
}

// The name may have stood for a file when it was looked at and stand for something
// else when it is opened: the open file is judged, and opening does not wait.
func TestJudgeOpen(t *testing.T) {
	for kind, path := range others(t) {
		within(t, func() {
			f, err := open(path)
			if kind == "a socket" { // cannot be opened at all
				if err == nil {
					t.Errorf("%s: opened", path)
				}
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := judge(f, path); err == nil || !strings.Contains(err.Error(), "is "+kind) {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
}

func TestOpenUnreadable(t *testing.T) {
	path := put(t, "file", []byte("x"))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(path)
	if os.Geteuid() == 0 {
		if err != nil {
			t.Error(err) // root reads all
		}
		return
	}
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// Reads of the opened file wait, and programs started meanwhile do not get it.
func TestOpenFlags(t *testing.T) {
	f, _, err := Open(put(t, "file", []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("status flags %#x, %v", flags, err)
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %#x, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

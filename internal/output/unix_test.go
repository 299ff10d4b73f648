//go:build unix

package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestModes(t *testing.T) {
	mask := syscall.Umask(0o027)
	defer syscall.Umask(mask)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, write(t, path, rules()))
	for _, mode := range []fs.FileMode{0o640, 0o600, 0o666, 0o755, 0o620, 0o604} {
		if mode != 0o640 { // what the umask gives a new file
			must(t, os.Chmod(path, mode))
			must(t, write(t, path, rules()))
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, expected %v (%v)", info.Mode(), mode, err)
		}
	}
	// What is being written is no more to be read by others than what was there.
	must(t, os.Chmod(path, 0o600))
	f, err := New(path, rules())
	must(t, err)
	must(t, f.Write(t.Context(), func(w io.Writer) error {
		half, err := filepath.Glob(filepath.Join(dir, ".smelt-*"))
		if info, statErr := os.Stat(strings.Join(half, "")); err != nil || statErr != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v: %v, %v", half, err, statErr)
		}
		return text(new)(w)
	}))
	must(t, os.Chmod(path, 0o444))
	wantError(t, write(t, path, rules()), "write-protected", "Force")
	r := rules()
	r.Force = true
	must(t, write(t, path, r))
}

func TestDirect(t *testing.T) {
	dir, err := os.MkdirTemp("", "smelt") // a socket's path is short
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, write(t, "/dev/null", rules()))
	if _, err := os.Stat("/dev/full"); err == nil {
		wantError(t, write(t, "/dev/full", rules()), "writing /dev/full: no space left on device")
	}
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	taken := make(chan string, 1)
	go func() { data, _ := os.ReadFile(fifo); taken <- string(data) }()
	must(t, write(t, link(t, fifo, filepath.Join(dir, "link")), rules()))
	if got := <-taken; got != new {
		t.Errorf("a FIFO got %q", got)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			taken <- err.Error()
			return
		}
		data, _ := io.ReadAll(c)
		taken <- string(data)
	}()
	must(t, write(t, filepath.Join(dir, "socket"), rules()))
	if got := <-taken; got != new {
		t.Errorf("a socket got %q", got)
	}
	if got := names(t, dir); got != "fifo link socket" {
		t.Error(got)
	}
}

// TestDescriptors: what the process has open, by its names.
func TestDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	defer file.Close()
	_, err = file.WriteString("before\n")
	must(t, err)
	number := func(f *os.File) string { return fmt.Sprint("/dev/fd/", f.Fd()) }
	must(t, write(t, number(w), rules()))
	must(t, write(t, link(t, number(w), filepath.Join(t.TempDir(), "link")), rules()))
	must(t, w.Close())
	if data, err := io.ReadAll(r); err != nil || string(data) != new+new {
		t.Errorf("%q, %v", data, err)
	}
	must(t, write(t, number(file), rules()))
	_, err = file.WriteString("after\n")
	must(t, err)
	if got := content(t, file.Name()); got != "before\n"+new+"after\n" {
		t.Errorf("an open file has %q", got)
	}
	wantError(t, write(t, number(file), rules(Input{"the text", file.Name()})), "the text")
	wantError(t, write(t, "/dev/fd/987654", rules()), "/dev/fd/987654", "bad file descriptor")
}

// TestNobodyReads: a pipe that nobody takes does not outlast the context.
func TestNobodyReads(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	for _, open := range []bool{false, true} {
		if open {
			r, err := os.OpenFile(fifo, os.O_RDWR, 0) // takes nothing
			must(t, err)
			defer r.Close()
		}
		f, err := New(fifo, rules())
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		done := make(chan error, 1)
		go func() {
			done <- f.Write(ctx, func(w io.Writer) error { _, err := w.Write(make([]byte, 4<<20)); return err })
		}()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("open %v: %v", open, err)
			}
		case <-time.After(5 * time.Minute):
			t.Fatalf("open %v: blocked", open)
		}
	}
}

// TestLeft: what killed runs left of this name goes, and nothing else.
func TestLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	at, err := resolve(path)
	must(t, err)
	left := put(t, filepath.Join(dir, temporary(at)+"0123456789abcdef"+temporaryEnd), "half")
	at.path = filepath.Join(dir, "other")
	kept := []string{
		put(t, filepath.Join(dir, temporary(at)+"0123456789abcdef"+temporaryEnd), "of another file"),
		put(t, filepath.Join(dir, ".smelt-mine.tmp"), "the user's"),
		put(t, filepath.Join(dir, ".file.tmp"), "the user's"),
	}
	at.path = path
	busy, err := create(at) // of a run at work
	must(t, err)
	must(t, write(t, path, rules()))
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left: %v", left, err)
	}
	for _, k := range append(kept, busy.Name()) {
		if _, err := os.Stat(k); err != nil {
			t.Error(err)
		}
	}
	must(t, busy.Close())
	must(t, write(t, path, rules()))
	if _, err := os.Stat(busy.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an abandoned file was left: %v", err)
	}
	must(t, os.RemoveAll(dir))
}

// TestLongName: a name as long as the file system takes.
func TestLongName(t *testing.T) {
	must(t, write(t, filepath.Join(t.TempDir(), strings.Repeat("x", 255)), rules()))
}

// The process of TestKilled writes files of one repeated letter until it is killed.
const killedEnv = "SMELT_TEST_OUTPUT"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		for i := 0; ; i++ {
			body := append([]byte(Report.Mark()), bytes.Repeat([]byte{'a' + byte(i%26)}, 1<<20)...)
			f, err := New(path, Rules{Format: Report})
			if err == nil {
				err = f.Write(context.Background(), func(w io.Writer) error {
					for from := 0; from < len(body); from += 64 << 10 {
						if _, err := w.Write(body[from:min(from+64<<10, len(body))]); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// TestKilled: whenever a process is killed, there is a whole file, and the next run
// removes what is beside it.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	program, err := os.Executable()
	must(t, err)
	for i := range 12 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		must(t, cmd.Start())
		time.Sleep(time.Duration(10+7*i) * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // before the first
		}
		must(t, err)
		body, marked := bytes.CutPrefix(data, []byte(Report.Mark()))
		if !marked || len(body) != 1<<20 || bytes.Count(body, body[:1]) != len(body) {
			t.Fatalf("kill %d: %d bytes, a mixture", i, len(data))
		}
	}
	must(t, write(t, path, rules()))
	if got := names(t, dir); got != "file" {
		t.Errorf("left: %s", got)
	}
}

package container

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// raw is a file without a format.
type raw struct{ *Mapping }

func (raw) Tensors() []Tensor  { return nil }
func (raw) HeaderHash() string { return "" }

// threePages is an open file of zeros.
func threePages(t *testing.T) raw {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.raw")
	if err := os.WriteFile(path, make([]byte, 3*os.Getpagesize()), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := Map(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return raw{m}
}

// TestIntact: whatever is done to the file that is open is seen, and nothing that
// is done to its name.
func TestIntact(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string, size int64) error
		want   string
	}{
		"nothing":    {func(string, int64) error { return nil }, ""},
		"one byte":   {func(path string, size int64) error { return os.Truncate(path, size-1) }, "was cut short"},
		"all":        {func(path string, _ int64) error { return os.Truncate(path, 0) }, "was cut short"},
		"grows":      {func(path string, size int64) error { return os.Truncate(path, 2*size) }, "was written to"},
		"cut, grown": {func(path string, size int64) error { return errors.Join(os.Truncate(path, 9), os.Truncate(path, size)) }, "was written to"},
		"written": {func(path string, _ int64) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{1}, 100)
				err = errors.Join(err, f.Close())
			}
			return err
		}, "was written to"},
		"written anew": {func(path string, _ int64) error { return os.WriteFile(path, []byte("short"), 0o666) }, "was cut short"},
		"replaced": {func(path string, _ int64) error {
			return errors.Join(os.WriteFile(path+"2", []byte("short"), 0o666), os.Rename(path+"2", path))
		}, ""},
		"removed": {func(path string, _ int64) error { return os.Remove(path) }, ""},
		"renamed": {func(path string, _ int64) error { return os.Rename(path, path+"2") }, ""},
		"mode":    {func(path string, _ int64) error { return os.Chmod(path, 0o400) }, ""},
	} {
		f := threePages(t)
		time.Sleep(10 * time.Millisecond) // more than a file system's clock steps by
		if err := c.change(f.Path(), f.Size()); err != nil {
			t.Fatal(err)
		}
		err := f.Intact()
		var changed *ChangedError
		if (c.want == "") != (err == nil) || err != nil && (!errors.As(err, &changed) || changed.Path != f.Path() || changed.Was != f.Size() || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// TestGuard: a fault on the file's bytes is an error; one elsewhere and any other
// panic is not touched, and the goroutine is as it was after it.
func TestGuard(t *testing.T) {
	f, other := threePages(t), threePages(t)
	last := len(f.Bytes()) - 1
	read := func(b []byte, at int) func() { return func() { _ = append([]byte(nil), b[at:at+1]...) } }
	if err := Guard(read(f.Bytes(), last), f); err != nil {
		t.Errorf("a whole file: %v", err)
	}
	for _, file := range []raw{f, other} {
		if err := os.Truncate(file.Path(), 10); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		var changed *ChangedError
		if err := Guard(read(f.Bytes(), last), nil, other, f, nil); !errors.As(err, &changed) || changed.Path != f.Path() || changed.Fault != int64(last) || changed.Now != 10 {
			t.Errorf("a byte that is gone: %v", err)
		}
	}
	recovered := func(read func(), files ...File) (r any) {
		defer func() { r = recover() }()
		return Guard(read, files...)
	}
	if r, ok := recovered(read(other.Bytes(), last), f).(interface{ Addr() uintptr }); !ok || r.Addr() == 0 {
		t.Errorf("another file's byte: %v", r)
	}
	if r := recovered(func() { panic("mine") }, f); r != "mine" {
		t.Errorf("another panic: %v", r)
	}
	if r, ok := recovered(func() { _ = f.Bytes()[last+1] }, f).(error); !ok || !strings.Contains(r.Error(), "out of range") {
		t.Errorf("an index: %v", r)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("a fault is a panic after Guard, too")
	}
	var none *Mapping
	if r, ok := recovered(func() { _ = none.size }, f).(error); !ok || !strings.Contains(r.Error(), "nil pointer") {
		t.Errorf("nil: %v", r)
	}
}

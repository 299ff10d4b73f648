package regular

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(to, path); err != nil {
		t.Skip(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	path := put(t, "file", []byte("some text"))
	for _, p := range []string{path, link(t, path), link(t, link(t, path))} {
		f, info, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(f); err != nil || string(data) != "some text" || info.Size() != 9 {
			t.Errorf("%s: %q of %d bytes, %v", p, data, info.Size(), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReadLimit(t *testing.T) {
	for size := range 20 {
		data := bytes.Repeat([]byte{'x'}, size)
		path := put(t, "file", data)
		for limit := range int64(20) {
			got, err := Read(path, limit)
			var large *SizeError
			switch {
			case int64(size) <= limit:
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes, at most %d: %q, %v", size, limit, got, err)
				}
			case !errors.As(err, &large) || large.Size != int64(size) || large.Limit != limit || got != nil:
				t.Errorf("%d bytes, at most %d: %q, %v", size, limit, got, err)
			}
		}
	}
}

// A file may have another size than it said: those of /proc, and one that grows or
// shrinks.
func TestReadOtherSize(t *testing.T) {
	for _, c := range []struct{ size, there, limit int64 }{
		{0, 0, 0}, {0, 1, 1}, {0, 10000, 10000}, {5, 3, 5}, {3, 5, 5}, {3, 5, 4}, {0, 1, 0}, {100, 101, 100}, {0, 1 << 20, 1000},
	} {
		r := &counted{r: io.LimitReader(endless{}, c.there)}
		data, err := readAll(r, "file", c.size, c.limit)
		if fits := c.there <= c.limit; fits != (err == nil) || fits && int64(len(data)) != c.there {
			t.Errorf("%+v: %d bytes, %v", c, len(data), err)
		}
		if r.n > c.limit+1 {
			t.Errorf("%+v: %d bytes were read", c, r.n)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func TestSizeNamed(t *testing.T) {
	path := put(t, "large.json", make([]byte, 3<<20))
	_, err := Read(path, 2<<20)
	want := path + " has 3145728 bytes (3.0 MiB), expected at most 2097152 bytes (2.0 MiB)"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, expected %s", err, want)
	}
}

func TestOpenMissing(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "none", "none"), ""} {
		if _, _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
		if _, err := Read(path, 10); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// A link to nothing is there, and must not pass for a file that need not be.
func TestOpenBrokenLink(t *testing.T) {
	dir := t.TempDir()
	circle := filepath.Join(dir, "circle")
	if err := os.Symlink("circle", circle); err != nil {
		t.Skip(err)
	}
	none := filepath.Join(dir, "none")
	for path, to := range map[string]string{
		link(t, none):                                        none,
		link(t, "../blobs/6f1c"):                             "../blobs/6f1c",
		link(t, filepath.Join(none, "under")):                filepath.Join(none, "under"),
		link(t, filepath.Join(put(t, "file", nil), "under")): "under",
		circle:          "circle",
		link(t, circle): circle,
	} {
		var broken *LinkError
		if _, _, err := Open(path); !errors.As(err, &broken) || errors.Is(err, fs.ErrNotExist) || broken.Path != path || !strings.HasSuffix(broken.To, to) {
			t.Errorf("a link to %s: %v", to, err)
		}
		if _, err := Read(path, 10); !errors.As(err, &broken) {
			t.Errorf("a link to %s: %v", to, err)
		}
		if _, err := Stat(path); !errors.As(err, &broken) {
			t.Errorf("a link to %s: %v", to, err)
		}
	}
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, link(t, dir), dir + string(filepath.Separator)} {
		var kind *KindError
		if _, _, err := Open(path); !errors.As(err, &kind) || !strings.Contains(err.Error(), path+" is a folder; expected a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

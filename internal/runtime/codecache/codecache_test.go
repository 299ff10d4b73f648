package codecache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"smelt.example/smelt/internal/runtime/codecache/cachetest"
)

func newCache(t testing.TB, dir string, limit int64) *Cache {
	t.Helper()
	c, err := Open(cachetest.Folder(t, dir), limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *Cache, k Key, object []byte) {
	t.Helper()
	if err := c.Put(k, object); err != nil {
		t.Fatal(err)
	}
}

func wantGet(t *testing.T, c *Cache, k Key, want []byte) {
	t.Helper()
	got, ok := c.Get(k)
	if ok != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("key %d: got %q, %v; want %q", k[0], got, ok, want)
	}
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := newCache(t, dir, 1<<20)
	wantGet(t, c, Key{1}, nil)
	put(t, c, Key{1}, []byte("one"))
	put(t, c, Key{2}, []byte("two"))
	wantGet(t, c, Key{1}, []byte("one"))
	put(t, c, Key{1}, []byte("uno"))
	c = newCache(t, dir, 1<<20)
	wantGet(t, c, Key{1}, []byte("uno"))
	wantGet(t, c, Key{2}, []byte("two"))
	if n := len(cachetest.Entries(t, dir)); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("code that will run is in a folder of mode %v, %v", info.Mode(), err)
	}
}

// What is not as it was written is a miss, and can be written again.
func TestCacheCorruption(t *testing.T) {
	c := newCache(t, t.TempDir(), 1<<20)
	object := []byte("an object")
	for name, damage := range map[string]func(path string) error{
		"altered":  func(path string) error { cachetest.Alter(t, path); return nil },
		"cut":      func(path string) error { return os.Truncate(path, 35) },
		"very cut": func(path string) error { return os.Truncate(path, 5) },
		"empty":    func(path string) error { return os.Truncate(path, 0) },
		"gone":     os.Remove,
	} {
		put(t, c, Key{7}, object)
		wantGet(t, c, Key{7}, object)
		if err := damage(filepath.Join(c.dir.Path(), entryName(Key{7}))); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Get(Key{7}); ok {
			t.Errorf("%s: got %q", name, got)
		}
	}
	put(t, c, Key{7}, object)
	wantGet(t, c, Key{7}, object)
}

// The entries not used for longest go, down to nine tenths of the limit.
func TestCacheEviction(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, dir, 1000) // nine entries of 100 bytes with their hash
	object := make([]byte, 100-32)
	past := time.Now().Add(-time.Hour)
	for i := range byte(10) {
		put(t, c, Key{i}, object)
		when := past.Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(filepath.Join(c.dir.Path(), entryName(Key{i})), when, when); err != nil {
			t.Fatal(err)
		}
	}
	wantGet(t, c, Key{0}, object) // used now
	put(t, c, Key{10}, object)
	wantGet(t, c, Key{1}, nil)
	wantGet(t, c, Key{2}, nil)
	for _, i := range []byte{0, 3, 4, 5, 6, 7, 8, 9, 10} {
		wantGet(t, c, Key{i}, object)
	}
	put(t, c, Key{11}, make([]byte, 2000))
	wantGet(t, c, Key{11}, nil)
	wantGet(t, c, Key{10}, object)

	// A smaller limit holds from the start; what a process left half written
	// long ago goes, what is not the cache's stays.
	old, young, foreign := filepath.Join(dir, "1.tmp"), filepath.Join(dir, "2.tmp"), filepath.Join(dir, "notes")
	for _, path := range []string{old, young, foreign} {
		if err := os.WriteFile(path, object, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{old, foreign} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	newCache(t, dir, 350)
	var left []string
	for _, path := range cachetest.Entries(t, dir) {
		left = append(left, filepath.Base(path)[:2])
	}
	if got := strings.Join(left, " "); got != "08 09 0a 2. no" {
		t.Errorf("left: %s; want the entries 8, 9 and 10, used last, 2.tmp and notes", got)
	}
}

// Several goroutines, each with a cache of its own on one folder, as several
// processes have.
func TestCacheParallel(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for g := range 4 {
		c := newCache(t, dir, 3000)
		group.Go(func() {
			for i := range 100 {
				k := byte(i * (g + 1) % 50)
				object := bytes.Repeat([]byte{k}, 50+int(k))
				if got, ok := c.Get(Key{k}); ok && !bytes.Equal(got, object) {
					t.Errorf("key %d: %d bytes of another", k, len(got))
				}
				if err := c.Put(Key{k}, object); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	var size int64
	for _, path := range cachetest.Entries(t, dir) {
		if strings.HasSuffix(path, temporarySuffix) {
			t.Errorf("left behind: %s", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	// Each knows what it put since it last looked.
	if size > 4*3000 {
		t.Errorf("%d bytes", size)
	}
}

func TestOpenCacheErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "cache"), 1000)
	wantLine(t, err, "cache of compiled kernels: ", file)

	for _, name := range []string{"HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	_, err = UserDir("objects")
	wantLine(t, err, "no folder for compiled kernels")
	home := t.TempDir()
	t.Setenv("HOME", home)
	dir, err := UserDir("objects")
	if err != nil || !strings.HasPrefix(dir, home) || !strings.HasSuffix(dir, fmt.Sprintf("smelt%cobjects", filepath.Separator)) {
		t.Errorf("%s, %v; want a folder under %s", dir, err, home)
	}
}

// wantLine wants an error of one line that has the texts.
func wantLine(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line with %q", err, texts)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q lacks %q", err, s)
		}
	}
}

//go:build linux || darwin

package jit

import (
	"os"
	"path/filepath"
	"testing"

	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/codecache/cachetest"
)

// A folder that others may write to is not read and not written: kernels are
// compiled, and the reason is in the report.
func TestUserCacheOfOthers(t *testing.T) {
	l := openLLVM(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	dir, err := codecache.UserDir("objects")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	list := modules(2)
	compileAll(t, l, UserCache(), list, 0)
	compileAll(t, l, UserCache(), list, 2)
	for _, shared := range []string{dir, filepath.Dir(dir), home} {
		if err := os.Chmod(shared, 0o777); err != nil {
			t.Fatal(err)
		}
		before := cachetest.Entries(t, dir)
		c := UserCache()
		b, err := l.CompileAll(modules(3), Options{}, c, 2, nil)
		if err != nil || b.Hits != 0 || b.Misses != 3 {
			t.Fatalf("%s: %+v, %v", shared, b, err)
		}
		wantLine(t, b.CacheError, "cache of compiled kernels: ", shared+" can be written by others")
		if err := c.Put(codecache.Key{1}, []byte("x")); err != nil {
			t.Error(err)
		}
		if after := cachetest.Entries(t, dir); len(after) != len(before) {
			t.Errorf("%s: %d files, %d before", shared, len(after), len(before))
		}
		if err := os.Chmod(shared, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	compileAll(t, l, UserCache(), list, 2)
}

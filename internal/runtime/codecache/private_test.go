//go:build linux || darwin

package codecache

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planted writes a whole entry for a key, as one that knows the format can.
func planted(t testing.TB, dir string, k Key, object []byte) {
	t.Helper()
	sum := sha256.Sum256(object)
	if err := os.WriteFile(filepath.Join(dir, entryName(k)), append(sum[:], object...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An entry that others could have written is a miss, and is replaced.
func TestPlantedEntries(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, dir, 1<<20)
	for i, change := range []func(path string) error{
		func(path string) error { return os.Chmod(path, 0o606) },
		func(path string) error { return os.Chmod(path, 0o660) },
		func(path string) error { return os.Rename(path, path+"x") },
		func(path string) error {
			if err := os.Rename(path, path+"x"); err != nil {
				return err
			}
			return os.Symlink(path+"x", path)
		},
		func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("/dev/zero", path)
		},
		func(path string) error { return os.Truncate(path, 1<<40) },
	} {
		k := Key{byte(i)}
		planted(t, dir, k, []byte("whole"))
		wantGet(t, c, k, []byte("whole"))
		if err := change(filepath.Join(dir, entryName(k))); err != nil {
			t.Fatal(err)
		}
		wantGet(t, c, k, nil)
		put(t, c, k, []byte("mine"))
		wantGet(t, c, k, []byte("mine"))
	}
}

// FuzzEntry: whatever an entry holds, Get gives nothing but an object whose hash
// stands before it, and Put replaces it.
func FuzzEntry(f *testing.F) {
	whole := func(object string) []byte {
		sum := sha256.Sum256([]byte(object))
		return append(sum[:], object...)
	}
	for _, seed := range [][]byte{nil, whole(""), whole("object"), whole("object")[:37], append(whole("object"), 'x'), bytes.Repeat([]byte{0}, 100), []byte(strings.Repeat("x", 32))} {
		f.Add(seed)
	}
	dir := f.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	c, err := Open(dir, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		var k Key
		copy(k[:], entry)
		path := filepath.Join(dir, entryName(k))
		if err := os.WriteFile(path, entry, 0o600); err != nil {
			t.Fatal(err)
		}
		object, ok := c.Get(k)
		if sum := sha256.Sum256(object); ok && !bytes.Equal(append(sum[:], object...), entry) {
			t.Fatalf("%q gives %q", entry, object)
		}
		put(t, c, k, []byte("next"))
		wantGet(t, c, k, []byte("next"))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
}

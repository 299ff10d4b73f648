// Package codecache keeps compiled kernels in a folder that only the user may write
// to: what is in it gets executed. Compilers name objects by all that decides their
// bytes.
package codecache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt.example/smelt/internal/runtime/private"
)

// Key names a compiled object by all that decides its bytes.
type Key [sha256.Size]byte

// KeyOf is the key of a list of parts.
func KeyOf(parts ...string) Key {
	hash := sha256.New()
	for _, part := range parts {
		// With its length, so that no two lists of parts read the same.
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write([]byte(part))
	}
	return Key(hash.Sum(nil))
}

// Cache is a folder of compiled objects, which only the user may write to: what
// is in it gets executed. Several goroutines and processes may use one at the same
// time.
type Cache struct {
	dir      *private.Dir // nil if bypassed is why
	bypassed error
	limit    int64 // bytes

	mu   sync.Mutex
	size int64 // of what is in the folder, as far as this process knows
}

// An entry is a file of the hash of the object's bytes and those bytes. Entries
// appear under their name whole; abandoned is how old a file without its name
// is when nobody writes it any more.
const (
	entrySuffix     = ".object"
	temporarySuffix = ".tmp"
	abandoned       = time.Hour

	// maxEntryBytes bounds what is read as one object: the storyteller's
	// largest has 75 kB.
	maxEntryBytes = 64 << 20
)

// UserDir is a folder for objects in the user's cache folder: "objects" for those of
// the processor. It fails if the environment says where neither is.
func UserDir(name string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for compiled kernels: %w", err)
	}
	return filepath.Join(dir, "smelt", name), nil
}

// Open uses a folder, and makes it if need be, for at most limit bytes:
// then the entries that were not used for longest go. It fails if another user may
// change what is in the folder.
func Open(dir string, limit int64) (*Cache, error) {
	opened, err := private.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cache of compiled kernels: %w", err)
	}
	c := &Cache{dir: opened, limit: limit}
	if err := c.trim(limit); err != nil {
		return nil, fmt.Errorf("cache of compiled kernels: %w", err)
	}
	return c, nil
}

// userCacheBytes bounds the user's folder; the kernels of a large model take some
// 10 MB.
const userCacheBytes = 512 << 20

// User is the cache in the user's folder of that name. Where there can be none, or
// another user may write to it, it has nothing and keeps nothing, and Bypassed says
// why: kernels are then compiled each time.
func User(name string) *Cache {
	dir, err := UserDir(name)
	if err != nil {
		return &Cache{bypassed: err}
	}
	c, err := Open(dir, userCacheBytes)
	if err != nil {
		return &Cache{bypassed: err}
	}
	return c
}

// Bypassed is why the cache keeps nothing; nil if it does.
func (c *Cache) Bypassed() error { return c.bypassed }

// entryName is a key's file.
func entryName(k Key) string { return hex.EncodeToString(k[:]) + entrySuffix }

// Get returns the object of a key. An entry that is not whole or was altered, that
// is no file of the user's alone, or is too large, is as good as none; Put replaces
// it.
func (c *Cache) Get(k Key) (object []byte, ok bool) {
	if c.dir == nil {
		return nil, false
	}
	entry, err := c.dir.Read(entryName(k), min(c.limit, maxEntryBytes))
	if err != nil || len(entry) < sha256.Size {
		return nil, false
	}
	object = entry[sha256.Size:]
	if sum := sha256.Sum256(object); !bytes.Equal(sum[:], entry[:sha256.Size]) {
		return nil, false
	}
	// The time of the file is that of its last use. Where it cannot be set the
	// entry only goes earlier.
	_ = c.dir.Touch(entryName(k))
	return object, true
}

// Put keeps an object, in place of whatever had its name. What is larger than the
// whole cache or an entry may be is not kept.
func (c *Cache) Put(k Key, object []byte) error {
	size := int64(sha256.Size + len(object))
	if c.dir == nil || size > min(c.limit, maxEntryBytes) {
		return nil
	}
	sum := sha256.Sum256(object)
	if err := c.dir.Write(entryName(k), append(sum[:], object...), temporarySuffix); err != nil {
		return fmt.Errorf("cache of compiled kernels: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size += size
	if c.size <= c.limit {
		return nil
	}
	// A tenth more than needed, so that not every entry looks at all.
	if err := c.trim(c.limit - c.limit/10); err != nil {
		return fmt.Errorf("cache of compiled kernels: %w", err)
	}
	return nil
}

// trim counts what is in the folder. If that is more than the limit, the oldest
// entries go until at most goal is left. Files may come and go meanwhile.
func (c *Cache) trim(goal int64) error {
	files, err := c.dir.List()
	if err != nil {
		return err
	}
	var entries []private.Entry
	c.size = 0
	for _, f := range files {
		switch {
		case strings.HasSuffix(f.Name, entrySuffix):
			entries = append(entries, f)
			c.size += f.Size
		case strings.HasSuffix(f.Name, temporarySuffix) && time.Since(f.ModTime) > abandoned:
			_ = c.dir.Remove(f.Name) // a leftover does no harm
		}
	}
	if c.size <= c.limit {
		return nil
	}
	slices.SortFunc(entries, func(a, b private.Entry) int {
		return cmp.Or(a.ModTime.Compare(b.ModTime), cmp.Compare(a.Name, b.Name))
	})
	for _, f := range entries {
		if c.size <= goal {
			break
		}
		if err := c.dir.Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.size -= f.Size
	}
	return nil
}

package jit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Key names a compiled object by all that decides its bytes.
type Key [sha256.Size]byte

// Key is the cache's name for what Compile makes of a module with options: a
// hash of the text or what stands for it, the library (version, file, its size and time), the machine
// and the options.
func (l *LLVM) Key(id string, o Options) Key {
	o = o.resolve(l.host)
	hash := sha256.New()
	reloc, model := l.addressing()
	for _, part := range []string{
		"object 2", // changes with what this package makes of its input
		id, l.Version(), l.identity, l.host.Triple, o.CPU, o.Features, o.Passes,
		fmt.Sprint(o.Codegen, o.NoUnroll, reloc, model),
	} {
		// With its length, so that no two lists of parts read the same.
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write([]byte(part))
	}
	return Key(hash.Sum(nil))
}

// Cache is a folder of compiled objects. Several goroutines and processes may
// use one at the same time.
type Cache struct {
	dir   string
	limit int64

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
)

// DefaultCacheDir is the folder for objects in the user's cache folder. It fails
// if the environment says where neither is.
func DefaultCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for compiled kernels: %w", err)
	}
	return filepath.Join(dir, "smelt", "objects"), nil
}

// OpenCache uses a folder, and makes it if need be, for at most limit bytes:
// then the entries that were not used for longest go.
func OpenCache(dir string, limit int64) (*Cache, error) {
	// What is in it gets executed: it is for the user alone.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache of compiled kernels: %w", err)
	}
	c := &Cache{dir: dir, limit: limit}
	if err := c.trim(limit); err != nil {
		return nil, fmt.Errorf("cache of compiled kernels: %w", err)
	}
	return c, nil
}

// userCacheBytes bounds the user's folder; the kernels of a large model take some
// 10 MB.
const userCacheBytes = 512 << 20

// UserCache is the cache in the user's folder, or nil where there can be none:
// kernels are then compiled each time.
func UserCache() *Cache {
	dir, err := DefaultCacheDir()
	if err != nil {
		return nil
	}
	c, err := OpenCache(dir, userCacheBytes)
	if err != nil {
		return nil
	}
	return c
}

func (c *Cache) path(k Key) string {
	return filepath.Join(c.dir, hex.EncodeToString(k[:])+entrySuffix)
}

// Get returns the object of a key. An entry that is not whole or was altered is
// as good as none.
func (c *Cache) Get(k Key) (object []byte, ok bool) {
	entry, err := os.ReadFile(c.path(k))
	if err != nil || len(entry) < sha256.Size {
		return nil, false
	}
	object = entry[sha256.Size:]
	if sum := sha256.Sum256(object); !bytes.Equal(sum[:], entry[:sha256.Size]) {
		return nil, false
	}
	// The time of the file is that of its last use. Where it cannot be set the
	// entry only goes earlier.
	now := time.Now()
	_ = os.Chtimes(c.path(k), now, now)
	return object, true
}

// Put keeps an object, in place of one that was there. What is larger than the
// whole cache may be is not kept.
func (c *Cache) Put(k Key, object []byte) error {
	size := int64(sha256.Size + len(object))
	if size > c.limit {
		return nil
	}
	if err := c.write(k, object); err != nil {
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

// write makes an entry under another name and renames it.
func (c *Cache) write(k Key, object []byte) (err error) {
	file, err := os.CreateTemp(c.dir, "*"+temporarySuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	sum := sha256.Sum256(object)
	_, err = file.Write(append(sum[:], object...))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), c.path(k))
}

// trim counts what is in the folder. If that is more than the limit, the oldest
// entries go until at most goal is left. Files may come and go meanwhile.
func (c *Cache) trim(goal int64) error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var entries []os.FileInfo
	c.size = 0
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			continue // gone since
		}
		switch {
		case strings.HasSuffix(f.Name(), entrySuffix):
			entries = append(entries, info)
			c.size += info.Size()
		case strings.HasSuffix(f.Name(), temporarySuffix) && time.Since(info.ModTime()) > abandoned:
			os.Remove(filepath.Join(c.dir, f.Name()))
		}
	}
	if c.size <= c.limit {
		return nil
	}
	slices.SortFunc(entries, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range entries {
		if c.size <= goal {
			break
		}
		if err := os.Remove(filepath.Join(c.dir, info.Name())); err != nil && !os.IsNotExist(err) {
			return err
		}
		c.size -= info.Size()
	}
	return nil
}

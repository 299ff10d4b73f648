// Package filehash computes the SHA-256 of a checkpoint's files of weights.
package filehash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"

	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/models/checkpoint"
)

// Hashes are the SHA-256 of all of a checkpoint's files of weights.
type Hashes struct {
	Files []Hash // in the checkpoint's order
}

// Sources counts the files by where their hash comes from.
func (h *Hashes) Sources() (read, hub int) {
	for _, f := range h.Files {
		if f.Source == Hub {
			hub++
		} else {
			read++
		}
	}
	return read, hub
}

// Hash is one file's.
type Hash struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Source string `json:"source"` // Read or Hub
}

// Where a hash comes from.
const (
	Read = "read" // smelt read the file
	Hub  = "hub"  // the Hugging Face hub's cache names the file by it
)

// Options say how files are hashed.
type Options struct {
	// Hub takes the hash from the name where the Hugging Face hub's cache has
	// named the file by it, and does not read the file.
	Hub bool
	// Progress, if not nil, is told of bytes that were read; from many goroutines.
	Progress func(n int64)
}

// Of hashes a checkpoint's files, as many at once as there are processors.
// It ends early with the context's error.
func Of(ctx context.Context, ck *checkpoint.Checkpoint, o Options) (*Hashes, error) {
	out := &Hashes{Files: make([]Hash, len(ck.Files))}
	errs := make([]error, len(ck.Files))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(ck.Files)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ck.Files) {
					return
				}
				out.Files[i], errs[i] = hashFile(ctx, ck.Files[i].Path(), ck.Files[i].Size(), o)
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, errors.Join(errs...)
}

// Valid reports whether a text is a SHA-256 as hashes spell it.
func Valid(sum string) bool { return hubBlob.MatchString(sum) }

// hubBlob matches the name of a git LFS file in the hub's cache: its SHA-256.
// Others are named by a git hash of 40 digits.
var hubBlob = regexp.MustCompile(`^[0-9a-f]{64}$`)

// hubHash reads a file's hash from the name of its link's target in the hub's cache:
// snapshots/REVISION/NAME -> ../../blobs/HASH.
func hubHash(path string) (string, bool) {
	to, err := os.Readlink(path)
	if err != nil || filepath.Base(filepath.Dir(to)) != "blobs" || !hubBlob.MatchString(filepath.Base(to)) {
		return "", false
	}
	return filepath.Base(to), true
}

// hashBuffer is read at a time.
const hashBuffer = 4 << 20

func hashFile(ctx context.Context, path string, size int64, o Options) (Hash, error) {
	out := Hash{Name: filepath.Base(path), Bytes: size, Source: Read}
	progress := o.Progress
	if progress == nil {
		progress = func(int64) {}
	}
	if sum, ok := hubHash(path); ok && o.Hub {
		progress(size)
		out.SHA256, out.Source = sum, Hub
		return out, nil
	}
	f, _, err := regular.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close() // only read
	// No more than the size that the checkpoint was opened with, and one byte to
	// see that it has grown.
	r, sum, buffer, read := io.LimitReader(f, size+1), sha256.New(), make([]byte, min(hashBuffer, size+1)), int64(0)
	for ctx.Err() == nil {
		n, err := r.Read(buffer)
		sum.Write(buffer[:n])
		read += int64(n)
		progress(int64(n))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, err
		}
	}
	if ctx.Err() == nil && read != size {
		return out, fmt.Errorf("%s: its size changed while it was read: %d bytes when it was opened; wait until it is complete and try again", path, size)
	}
	out.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

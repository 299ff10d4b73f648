package admission

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/models/checkpoint"
)

// The disk is measured with reads of as many bytes as the experts have in one place,
// by as many threads as a step has, for a moment.
const (
	piece  = 1 << 20
	pieces = 256
	moment = 250 * time.Millisecond
)

// assumedRate is that of common solid-state disks, for files that cannot be measured.
const assumedRate = 2e9

// diskRate reads pieces spread over files, past the page cache.
func diskRate(files []checkpoint.File) (bytesPerSecond float64, how string) {
	bytes, elapsed, err := readSpread(files)
	if err != nil || bytes == 0 || elapsed <= 0 {
		return assumedRate, "assumed"
	}
	return float64(bytes) / elapsed.Seconds(), fmt.Sprintf("measured, %s in %.2f s", message.Bytes(bytes), elapsed.Seconds())
}

func readSpread(files []checkpoint.File) (int64, time.Duration, error) {
	var total int64
	open := make([]*os.File, len(files))
	for i, f := range files {
		var err error
		if open[i], err = os.Open(f.Path()); err != nil {
			return 0, 0, err
		}
		defer open[i].Close()
		total += f.Size()
	}
	var next, read atomic.Int64
	var failed atomic.Pointer[error]
	start := time.Now()
	var threads sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		threads.Go(func() {
			buffer := make([]byte, piece)
			for failed.Load() == nil && time.Since(start) < moment {
				i := next.Add(1) - 1
				if i >= pieces {
					return
				}
				n, err := readAt(files, open, buffer, total/pieces*i)
				read.Add(int64(n))
				if err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	threads.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return read.Load(), time.Since(start), nil
}

// readAt reads at an offset of all files in a row, as much as its file has from there
// on.
func readAt(files []checkpoint.File, open []*os.File, buffer []byte, at int64) (int, error) {
	for i, f := range files {
		if at >= f.Size() {
			at -= f.Size()
			continue
		}
		at &^= int64(os.Getpagesize()) - 1
		buffer = buffer[:min(int64(len(buffer)), f.Size()-at)]
		if err := uncached(open[i], at, int64(len(buffer))); err != nil {
			return 0, err
		}
		return open[i].ReadAt(buffer, at)
	}
	return 0, errors.New("no such byte")
}

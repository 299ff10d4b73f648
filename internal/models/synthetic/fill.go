package synthetic

import (
	"context"
	"fmt"
	"hash/fnv"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/models/checkpoint"
)

// FillOptions says how Fill fills.
type FillOptions struct {
	// Seed picks the weights. The same seed gives the same bytes, whatever the
	// machine and the number of threads.
	Seed uint64
	// Threads that write; 0 means as many as Go uses processors.
	Threads int
	// Beside is how many bytes the caller will need besides the weights.
	Beside int64
	// Unchecked fills even where the machine's free memory does not suffice.
	Unchecked bool
}

// A fill is one tensor and what goes into it.
type fill struct {
	tensor checkpoint.Tensor
	values generator
}

// key tells tensors and seeds apart. Biases are made from the scales beside
// them and have their key.
func (f fill) key(seed uint64) uint64 {
	name := f.tensor.Name
	if stem, is := strings.CutSuffix(name, ".biases"); is {
		name = stem + ".scales"
	}
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	return mix(h.Sum64() ^ mix(seed))
}

// chunkBytes is how much one goroutine writes at a time: enough to make its
// share even, too little to wait for.
const chunkBytes = 4 << 20

// Fill writes random weights. It refuses, with the numbers, if they do not fit
// into free memory; where that is unknown it does not ask. Nothing may read
// the weights meanwhile. Once ctx is done it stops and returns ctx's error.
func (c *Checkpoint) Fill(ctx context.Context, o FillOptions) error {
	if !o.Unchecked {
		if free := memory.Here().Available; free.Known() {
			if err := c.fits(free.Bytes, o.Beside); err != nil {
				return err
			}
		}
	}
	c.filled = true
	var next atomic.Int64
	chunks := c.chunks()
	var wg sync.WaitGroup
	for range max(1, min(threads(o.Threads), len(chunks))) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(chunks) {
					return
				}
				f, at := chunks[i].fill, chunks[i].at
				data := f.tensor.Data()[at:]
				f.values.fill(data[:min(int64(len(data)), f.step())], f.key(o.Seed), at)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// fits compares what is needed with what is free.
func (c *Checkpoint) fits(free, beside int64) error {
	need := beside
	if !c.filled {
		need += c.Bytes()
	}
	if need <= free {
		return nil
	}
	return fmt.Errorf("%s needs %s of memory (%s of weights), %s are free; take fewer layers or close other programs",
		c.Checkpoint.Dir, message.Bytes(need), message.Bytes(c.Bytes()), message.Bytes(free))
}

func threads(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

type chunk struct {
	fill *fill
	at   int64
}

// step is the size of a tensor's chunks.
func (f *fill) step() int64 {
	unit := f.values.unit()
	return max(unit, chunkBytes/unit*unit)
}

func (c *Checkpoint) chunks() []chunk {
	var all []chunk
	for i := range c.fills {
		f := &c.fills[i]
		for at := int64(0); at < f.tensor.Bytes; at += f.step() {
			all = append(all, chunk{f, at})
		}
	}
	return all
}

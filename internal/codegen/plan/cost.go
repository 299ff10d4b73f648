package plan

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
)

// Cost counts what one dispatch moves and computes, for given sizes of a step.
// Bytes count what it needs, each byte once, and nothing of what it would not touch at
// these sizes; Traffic what its loads and stores ask for in all, which caches serve in
// part.
type Cost struct {
	Grid       [3]int64
	Weights    int64 // bytes read
	CacheRead  int64
	CacheWrite int64
	Read       int64 // activations
	Write      int64
	Traffic    int64
	Flops      int64
}

// Bytes is all a dispatch needs to read and write.
func (c Cost) Bytes() int64 { return c.Weights + c.CacheRead + c.CacheWrite + c.Read + c.Write }

// Add adds another dispatch's cost, grid aside.
func (c *Cost) Add(o Cost) {
	c.Weights += o.Weights
	c.CacheRead += o.CacheRead
	c.CacheWrite += o.CacheWrite
	c.Read += o.Read
	c.Write += o.Write
	c.Traffic += o.Traffic
	c.Flops += o.Flops
}

// Costs evaluates the cost of each of the step's dispatches for values of the module's
// symbols, on all processors. It tells begin, if not nil, how that goes.
func (s *Step) Costs(symbols map[string]int64, begin progress.Begin) ([]Cost, error) {
	out := make([]Cost, len(s.Dispatches))
	var todo []estimated // each once: layers repeat
	known := map[estimated]*kernel.Cost{}
	for i, d := range s.Dispatches {
		if err := d.place(&out[i], symbols); err != nil {
			return nil, err
		}
		key := estimated{d.Kernel, out[i].Grid}
		if known[key] == nil && !out[i].idle() {
			known[key] = &kernel.Cost{}
			todo = append(todo, key)
		}
	}
	if err := estimateAll(todo, known, symbols, begin); err != nil {
		return nil, err
	}
	for i, d := range s.Dispatches {
		if c := &out[i]; !c.idle() {
			e := known[estimated{d.Kernel, c.Grid}]
			c.Flops, c.Traffic = e.Flops, e.Bytes()
			if err := d.needs(c, symbols, e.Touched); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// estimated is what traffic and operations of a kernel depend on beside the symbols.
type estimated struct {
	kernel *kernel.Kernel
	grid   [3]int64
}

// estimateAll fills in the estimates that are to be made.
func estimateAll(todo []estimated, known map[estimated]*kernel.Cost, symbols map[string]int64, begin progress.Begin) error {
	done, end := begin.Phase("estimating costs", int64(len(todo)), "kernels")
	defer end()
	errs := make([]error, len(todo))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(todo)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(todo); i = int(next.Add(1)) - 1 {
				*known[todo[i]], errs[i] = kernel.Estimate(todo[i].kernel, kernel.Env{Step: symbols, Grid: todo[i].grid})
				done(1)
			}
		})
	}
	workers.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("dispatch %s: %w", todo[i].kernel.Name, err)
		}
	}
	return nil
}

// idle says that a dispatch has no threadgroups, which cost nothing.
func (c *Cost) idle() bool { return c.Grid[0]*c.Grid[1]*c.Grid[2] == 0 }

// place fills in the dispatch's grid.
func (d *Dispatch) place(c *Cost, symbols map[string]int64) (err error) {
	for i, g := range d.Grid {
		if c.Grid[i], err = g.Eval(env(symbols)); err != nil {
			return fmt.Errorf("dispatch %s: grid %s: %w", d.Kernel.Name, g, err)
		}
	}
	return nil
}

// needs adds up what the dispatch needs to read and write, of the buffers it touches.
func (d *Dispatch) needs(c *Cost, symbols map[string]int64, touched map[string]bool) error {
	for _, a := range d.Args {
		n, err := a.needs(env(symbols))
		if err != nil {
			return fmt.Errorf("dispatch %s, %s: %w", d.Kernel.Name, a.Param.Name, err)
		}
		if touched[a.Param.Name] {
			c.count(a, n)
		}
	}
	return nil
}

// needs is how many bytes the dispatch needs of the argument.
func (a *Arg) needs(at ir.Env) (int64, error) {
	n, err := a.BytesAccessed.Eval(at)
	if err != nil || a.AtMost == nil {
		return n, err
	}
	most, err := a.AtMost.Eval(at)
	return min(n, most), err
}

func (c *Cost) count(a Arg, n int64) {
	reads, writes := n, n
	switch a.Param.Access {
	case kernel.Read:
		writes = 0
	case kernel.Write:
		reads = 0
	}
	switch {
	case a.Weight != nil:
		c.Weights += reads
	case a.Cache != nil, a.Buffer != nil && a.Buffer.Area != nil:
		c.CacheRead += reads
		c.CacheWrite += writes
	case a.Buffer != nil:
		c.Read += reads
		c.Write += writes
	}
}

// Minimum counts the bytes that a step cannot do without: each weight that it uses once in
// its encoding, each visible cache byte once, each new one written once.
func (s *Step) Minimum(symbols map[string]int64) (int64, error) {
	most := map[any]int64{}
	var keys []any
	for _, d := range s.Dispatches {
		if d.Region == program.RingsRegion {
			continue // rows need not be copied
		}
		for _, a := range d.Args {
			key := a.minimumKey()
			if key == nil {
				continue
			}
			n, err := a.needs(env(symbols))
			if err != nil {
				return 0, err
			}
			if _, seen := most[key]; !seen {
				keys = append(keys, key)
			}
			most[key] = max(most[key], n)
		}
	}
	total := int64(0)
	for _, k := range keys {
		total += most[k]
	}
	return total, nil
}

// minimumKey identifies what the argument's bytes are counted once under; nil
// for activations, which a perfect program would not store.
func (a *Arg) minimumKey() any {
	switch {
	case a.Weight != nil:
		return *a.Weight
	case a.Cache != nil:
		return [2]any{a.Cache, a.Param.Access == kernel.Read}
	case a.Buffer != nil && a.Buffer.Area != nil:
		return [2]any{a.Buffer, a.Param.Access == kernel.Read}
	}
	return nil
}

// A command buffer must end before the GPU's watchdog does: some seconds, and
// less where the screen waits. What one takes is bounded by half of what the
// slowest machine that holds the model has: up to 96 GB of weights fit Macs
// with 300 GB/s, more than that takes a machine with 800 GB/s (the table of
// machines in field reports); the least GPU of either has about 8 TFLOP/s.
const (
	bufferSeconds  = 0.4
	smallModel     = 96e9 // bytes of weights
	smallBytes     = 150e9
	largeBytes     = 400e9
	slowFlops      = 4e12
	slowDispatches = 20e-6 // seconds each
)

// splitCommandBuffers numbers command buffers so that none is expected to take longer
// than bufferSeconds with so many rows at the longest context. They end at barriers.
func (s *Step) splitCommandBuffers(rows int, weights int64, begin progress.Begin) error {
	bytesPerSecond := largeBytes
	if weights <= smallModel {
		bytesPerSecond = smallBytes
	}
	spent, buffer := 0.0, 0
	symbols := s.Symbols(int(s.limitOf(ir.Reach)), rows)
	var pending []*Dispatch // of the present level
	cost := 0.0
	flush := func() {
		if spent > 0 && spent+cost > bufferSeconds {
			buffer++
			spent = 0
		}
		for _, d := range pending {
			d.CommandBuffer = buffer
		}
		spent += cost
		pending, cost = nil, 0
	}
	costs, err := s.Costs(symbols, begin)
	if err != nil {
		return err
	}
	for i, d := range s.Dispatches {
		if d.Barrier {
			flush()
		}
		c := costs[i]
		cost += max(float64(c.Bytes())/bytesPerSecond, float64(c.Flops)/slowFlops) + slowDispatches
		pending = append(pending, d)
	}
	flush()
	return nil
}

// limitOf is the limit of the symbol with that definition, 1 if there is none.
func (s *Step) limitOf(def ir.SymbolDef) int64 {
	for _, sym := range s.Params.Symbols {
		if sym.Def == def {
			return s.Limits[sym.Name]
		}
	}
	return 1
}

// CommandBuffers is how many a step takes that scores nothing.
func (s *Step) CommandBuffers() int {
	return s.Dispatches[s.Scoring()-1].CommandBuffer + 1
}

// Barriers counts the barriers of a step that scores nothing; the end of a command buffer is
// one.
func (s *Step) Barriers() int {
	n := 0
	for _, d := range s.Dispatches[:s.Scoring()] {
		if d.Barrier {
			n++
		}
	}
	return n
}

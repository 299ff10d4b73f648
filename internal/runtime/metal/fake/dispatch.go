package fake

import (
	"slices"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// Dispatch is one launch of a kernel. Its memory is valid only while Execute or
// Fault runs.
type Dispatch struct {
	Kernel        string
	Source        string // of the kernel's library
	Grid          [3]int // threadgroups
	Threads       int    // of a threadgroup
	Args          []byte // buffer 0 from its offset on
	Step          uint64 // the GPU's address of buffer 1 and its offset
	CommandBuffer int    // the command buffer's number, from 1 in the order made
	Index         int    // in the command buffer
	Epoch         int    // barriers before it in its encoder

	encoder *encoder
	at      int // in its encoder
}

// command is a dispatch that is encoded.
type command struct {
	encoder    *encoder
	pipeline   *pipeline
	grid       [3]int
	threads    int
	args, step binding
	epoch, at  int
}

// maxGrid bounds each axis of a grid: the threads of a grid are counted in 32 bits.
const maxGrid = 1<<32 - 1

func dispatchThreadgroups(r *Runtime, e *encoder, args []uintptr) {
	if args[0] == 0 || args[1] == 0 {
		r.violate("a size is NULL")
		return
	}
	grid := *(*[3]uintptr)(objc.Pointer(args[0]))
	group := *(*[3]uintptr)(objc.Pointer(args[1]))
	for axis := range grid {
		if grid[axis] == 0 || grid[axis] > maxGrid || group[axis] == 0 || group[axis] > maxThreads {
			r.violate("a grid of %d threadgroups of %d threads", grid, group)
			return
		}
	}
	p, threads := e.pipeline, int(group[0]*group[1]*group[2])
	switch {
	case p == nil:
		r.violate("no pipeline is set")
		return
	case e.bound[0].buffer == nil || e.bound[1].buffer == nil:
		r.violate("buffers 0 and 1 are not both bound")
		return
	case threads > p.threads:
		r.violate("%d threads in a threadgroup of %s, which allows %d", threads, p.kernel, p.threads)
		return
	case threads%simdWidth != 0:
		r.violate("%d threads in a threadgroup are no multiple of %d", threads, simdWidth)
		return
	}
	cb := e.cb
	cb.commands = append(cb.commands, command{
		encoder: e, pipeline: p, grid: [3]int{int(grid[0]), int(grid[1]), int(grid[2])}, threads: threads,
		args: e.bound[0], step: e.bound[1], epoch: e.epoch, at: e.dispatched,
	})
	e.dispatched++
	if e.ordered {
		e.epoch++
	}
}

// dispatch is the i-th command for those who run it.
func (cb *commandBuffer) dispatch(i int) *Dispatch {
	c := &cb.commands[i]
	return &Dispatch{
		Kernel: c.pipeline.kernel, Source: c.pipeline.source, Grid: c.grid, Threads: c.threads,
		Args: c.args.buffer.memory[c.args.offset:], Step: c.step.buffer.address + uint64(c.step.offset),
		CommandBuffer: cb.number, Index: i, Epoch: c.epoch,
		encoder: c.encoder, at: c.at,
	}
}

// Resident tells whether the buffer that has an address is sure to be in the GPU's
// memory at a dispatch: it is in a set that the queue had at the commit, was named
// by useResources before, or is bound. It can be asked while Execute or Fault runs.
func (r *Runtime) Resident(d *Dispatch, address uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bufferAt(address)
	if b == nil {
		return false
	}
	if slices.ContainsFunc(d.encoder.resident, func(n residence) bool { return n.buffer == b && n.from <= d.at }) {
		return true
	}
	return slices.ContainsFunc(d.encoder.cb.sets, func(s *residencySet) bool { return s.has[b] })
}

// Usage is what useResources declared of the buffer that has an address, before a
// dispatch: reading, writing or both; 0 if it was not named. It can be asked while
// Execute or Fault runs.
func (r *Runtime) Usage(d *Dispatch, address uint64) (usage uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bufferAt(address)
	for _, n := range d.encoder.resident {
		if b != nil && n.buffer == b && n.from <= d.at {
			usage |= n.usage
		}
	}
	return usage
}

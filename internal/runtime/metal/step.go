package metal

import (
	"time"
	"unsafe"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/planned"
)

// Step parameters lie in a ring, so that those of a step stay while the next are
// written: what runs, and what is encoded while it does, read blocks of their own. Offsets of bound buffers are multiples of 256 on every GPU.
const (
	ringBlocks = 4
	alignment  = 256
)

// aligned is n rounded up to the alignment.
func aligned(n int) int { return (n + alignment - 1) / alignment * alignment }

// step is one kind of step, bound to addresses.
type step struct {
	m      *machine
	plan   *plan.Step
	blocks buffer             // the ring of step parameters
	block  int                // the one of the present step
	reads  [ringBlocks]uint64 // the number of the last work that reads a block
	args   buffer             // the argument blocks of all dispatches
	jobs   []job
	times  []time.Duration
}

// job is a dispatch, ready to encode.
type job struct {
	kernel   string
	pipeline objc.ID
	args     int // offset of its argument block
	grid     [3]int64
	threads  int
	barrier  bool
	buffer   int // the command buffer it goes into
}

// Prepare makes a step's jobs, and puts their argument blocks into one buffer.
func (m *machine) Prepare(p *plan.Step, args [][]byte) (planned.Step, error) {
	s := &step{m: m, plan: p, jobs: make([]job, len(p.Dispatches)), times: make([]time.Duration, len(p.Dispatches))}
	var err error
	if s.blocks, err = m.memory.alloc("step parameters", int64(ringBlocks*s.stride())); err != nil {
		return nil, err
	}
	var blocks []byte
	for i, x := range p.Dispatches {
		s.jobs[i] = job{kernel: x.Kernel.Name, pipeline: m.kernels[x.Kernel.Name], args: len(blocks),
			threads: x.Kernel.Schedule.Threads, barrier: x.Barrier, buffer: x.CommandBuffer}
		blocks = append(blocks, args[i]...)
		blocks = append(blocks, make([]byte, aligned(len(args[i]))-len(args[i]))...)
	}
	if s.args, err = m.memory.alloc("arguments", int64(len(blocks))); err != nil {
		return nil, err
	}
	copy(s.args.bytes, blocks)
	m.steps[p.Phase] = s
	return s, nil
}

// paramBytes is the size of the step's parameters, stride the distance of blocks in
// the ring.
func (s *step) paramBytes() int { return s.plan.Params.Layout.Bytes() }
func (s *step) stride() int     { return aligned(s.paramBytes()) }

// Params is the next block of the ring. Where the GPU may still read it, the steps
// before are waited for.
func (s *step) Params() []byte {
	s.block = (s.block + 1) % ringBlocks
	if err := s.m.queue.await(s.reads[s.block]); err != nil {
		s.m.behind = err
	}
	return s.blocks.bytes[s.block*s.stride():][:s.paramBytes()]
}

// Start encodes and commits dispatches.
func (s *step) Start(grids [][3]int64, from, to int) error {
	if s.m.behind != nil {
		return s.m.behind
	}
	for i := from; i < to; i++ {
		s.jobs[i].grid = grids[i]
	}
	err := s.m.queue.start(s, from, to, s.m.mode)
	s.reads[s.block] = s.m.queue.value
	return err
}

// Times are the GPU's times; zeros outside of a profile.
func (s *step) Times() []time.Duration { return s.times }

// encoder writes dispatches into a compute command encoder: at most four calls
// each, whose arguments lie ready.
type encoder struct {
	api      *objc.API
	groups   bool
	bound    objc.ID // the pipeline that is set
	pipeline []uintptr
	offset   []uintptr
	dispatch []uintptr
	barrier  []uintptr
	// sizes are the grid and a threadgroup. They lie in the heap, where Go moves
	// nothing, for Metal gets their addresses; a callee may write to them.
	sizes *[2][3]uintptr
}

func newEncoder(api *objc.API, groups bool) *encoder {
	e := &encoder{api: api, groups: groups, sizes: new([2][3]uintptr)}
	e.pipeline = []uintptr{0, api.Selector(objc.EncoderPipeline), 0}
	e.offset = []uintptr{0, api.Selector(objc.EncoderBufferOffset), 0, argsIndex}
	e.dispatch = []uintptr{0, api.Selector(objc.EncoderDispatch), uintptr(unsafe.Pointer(&e.sizes[0])), uintptr(unsafe.Pointer(&e.sizes[1]))}
	e.barrier = []uintptr{0, api.Selector(objc.EncoderBarrier), objc.BarrierBuffers}
	return e
}

// begin turns to an encoder.
func (e *encoder) begin(id objc.ID) {
	e.bound = 0
	for _, args := range [][]uintptr{e.pipeline, e.offset, e.dispatch, e.barrier} {
		args[0] = uintptr(id)
	}
}

// idle reports whether the job has no threadgroups in this step.
func (j *job) idle() bool { return j.grid[0] == 0 || j.grid[1] == 0 || j.grid[2] == 0 }

// idle reports whether all jobs from one to before another are.
func (s *step) idle(from, to int) bool {
	for i := from; i < to; i++ {
		if !s.jobs[i].idle() {
			return false
		}
	}
	return true
}

// encode writes a dispatch; first says that it is the encoder's first.
func (e *encoder) encode(j *job, first bool) {
	if j.barrier && !first {
		e.api.Send(e.barrier)
	}
	if j.idle() {
		return
	}
	if e.groups {
		e.api.PushGroup(objc.ID(e.dispatch[0]), j.kernel)
		defer e.api.PopGroup(objc.ID(e.dispatch[0]))
	}
	if j.pipeline != e.bound {
		e.pipeline[2] = uintptr(j.pipeline)
		e.api.Send(e.pipeline)
		e.bound = j.pipeline
	}
	e.offset[2] = uintptr(j.args)
	e.api.Send(e.offset)
	e.sizes[0] = [3]uintptr{uintptr(j.grid[0]), uintptr(j.grid[1]), uintptr(j.grid[2])}
	e.sizes[1] = [3]uintptr{uintptr(j.threads), 1, 1}
	e.api.Send(e.dispatch)
}

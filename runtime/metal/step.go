package metal

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
	"unsafe"

	"smelt/codegen/plan"
	"smelt/ir"
	"smelt/runtime/binding"
	"smelt/runtime/metal/objc"
	"smelt/runtime/sampling"
	"smelt/runtime/stepblock"
)

// Step parameters lie in a ring, so that those of a step stay while the next are
// written. Offsets of bound buffers are multiples of 256 on every GPU.
const (
	ringBlocks = 4
	alignment  = 256
)

// aligned is n rounded up to the alignment.
func aligned(n int) int { return (n + alignment - 1) / alignment * alignment }

// step is one kind of step, bound to addresses.
type step struct {
	d      *Device
	plan   *plan.Step
	filler *stepblock.Filler
	symbol ir.Env
	arena  []byte // its part of the device's
	blocks buffer // the ring of step parameters
	block  int    // the one of the present step
	args   buffer // the argument blocks of all dispatches
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

func (d *Device) newStep(p *plan.Step, where *binding.Memory) (*step, error) {
	s := &step{d: d, plan: p, filler: stepblock.New(p.Params), arena: d.memory.arena.bytes[:p.ArenaBytes],
		jobs: make([]job, len(p.Dispatches)), times: make([]time.Duration, len(p.Dispatches))}
	s.symbol = s.filler.Symbol
	var err error
	if s.blocks, err = d.memory.alloc("step parameters", int64(ringBlocks*s.stride())); err != nil {
		return nil, err
	}
	m := d.memory
	var blocks []byte
	for i, x := range p.Dispatches {
		b, err := where.Block(x, m.arena.address)
		if err != nil {
			return nil, err
		}
		s.jobs[i] = job{kernel: x.Kernel.Name, pipeline: d.kernels[x.Kernel.Name], args: len(blocks),
			threads: x.Kernel.Schedule.Threads, barrier: x.Barrier, buffer: x.CommandBuffer}
		blocks = append(blocks, b...)
		blocks = append(blocks, make([]byte, aligned(len(b))-len(b))...)
	}
	if s.args, err = m.alloc("arguments", int64(len(blocks))); err != nil {
		return nil, err
	}
	copy(s.args.bytes, blocks)
	return s, nil
}

// stride is the distance of blocks in the ring.
func (s *step) stride() int { return aligned(s.filler.Bytes()) }

// prepare writes the step's parameters and grids.
func (s *step) prepare(rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	s.block = (s.block + 1) % ringBlocks
	if err := s.filler.Fill(s.blocks.bytes[s.block*s.stride():][:s.filler.Bytes()], rows, wanted, choices); err != nil {
		return err
	}
	if s.d.opts.Poison {
		for i := range s.arena {
			s.arena[i] = poisonByte
		}
	}
	for i, x := range s.plan.Dispatches {
		j := &s.jobs[i]
		for axis, g := range x.Grid {
			n, err := g.Eval(s.symbol)
			if err != nil {
				return fmt.Errorf("kernel %s of region @%s: %w", j.kernel, x.Region, err)
			}
			if n < 0 || n > math.MaxUint32 {
				return fmt.Errorf("kernel %s of region @%s: a grid of %d threadgroups along axis %d", j.kernel, x.Region, n, axis)
			}
			j.grid[axis] = n
		}
	}
	return nil
}

// logits are those of n wanted rows from the first on.
func (s *step) logits(first, n int) []float32 {
	out := s.arena[s.plan.Results[0].Offset+4*int64(first)*int64(s.d.vocab):]
	logits := make([]float32, s.d.vocab*n)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:]))
	}
	return logits
}

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

// encode writes a dispatch; first says that it is the encoder's first.
func (e *encoder) encode(j *job, first bool) {
	if j.barrier && !first {
		e.api.Send(e.barrier)
	}
	if j.grid[0] == 0 || j.grid[1] == 0 || j.grid[2] == 0 {
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

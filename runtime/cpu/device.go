// Package cpu runs a bundle's kernels on the processor: they are printed as LLVM
// IR (package codegen/llvm), compiled in this process by libLLVM (package jit)
// and run on a pool of threads, exactly as the plan says. Weights are read where
// the checkpoint's files are mapped.
package cpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"

	"smelt/codegen/bundle"
	"smelt/codegen/llvm"
	"smelt/codegen/plan"
	"smelt/codegen/program"
	"smelt/codegen/target"
	"smelt/ir"
	"smelt/models/checkpoint"
	"smelt/runtime/binding"
	"smelt/runtime/cpu/fault"
	"smelt/runtime/cpu/jit"
	"smelt/runtime/profile"
	"smelt/runtime/sampling"
	"smelt/runtime/stepblock"
)

// Options says how to run.
type Options struct {
	// Threads that run kernels, at most as many as Go uses processors; 0 means as
	// many.
	Threads int
	// LLVM is libLLVM; nil means jit.Open("").
	LLVM *jit.LLVM
	// Cache keeps compiled kernels; nil keeps none.
	Cache *jit.Cache
	// Poison fills the arena with NaNs before every step.
	Poison bool
	// Observe, if not nil, sees the arena's named values after the dispatch that
	// writes them, as many bytes as the step needs, and may change them. Steps then
	// run dispatch by dispatch.
	Observe func(name string, data []byte)
}

// Device is a device.Device.
type Device struct {
	b      *bundle.Bundle
	opts   Options
	memory memory
	ck     *checkpoint.Checkpoint
	code   *code
	watch  *fault.Watch // of the checkpoint's files
	pool   *pool
	slots  *binding.Slots
	caches []byte
	arena  []byte // of both kinds of steps, one at a time
	steps  [2]*step
	vocab  int
	last   lastStep
	mode   profile.Mode
	probes *probes // nil until they are needed
}

// poisonByte makes NaNs, and -1 of integers.
const poisonByte = 0xff

// Open compiles the bundle's kernels for this machine. A bundle for another
// target is planned anew for this one. The checkpoint must stay open as long as
// the device is used.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	d := &Device{opts: o, ck: ck}
	if err := d.start(b); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) start(b *bundle.Bundle) (err error) {
	if n := runtime.GOMAXPROCS(0); d.opts.Threads < 0 || d.opts.Threads > n {
		return fmt.Errorf("%d threads asked for: expected 1 to %d, the processors there are, or 0 for all; they wait for each other in turns, so more would make steps slower", d.opts.Threads, n)
	}
	if err := d.ck.Ready(); err != nil {
		return err
	}
	if d.opts.LLVM == nil {
		if d.opts.LLVM, err = jit.Open(""); err != nil {
			return err
		}
	}
	if d.opts.Threads == 0 {
		d.opts.Threads = runtime.GOMAXPROCS(0)
	}
	machine, err := target.Processor(d.opts.LLVM.Host().Lanes())
	if err != nil {
		return err
	}
	if d.b, err = b.For(machine); err != nil {
		return err
	}
	if d.vocab, err = binding.Vocab(d.b.Module); err != nil {
		return err
	}
	if d.code, err = compile(d.b.Plan.Kernels, d.opts); err != nil {
		return err
	}
	if d.watch, err = d.watchFiles(); err != nil {
		return err
	}
	if d.caches, err = d.memory.alloc("caches", d.b.Plan.CacheBytes); err != nil {
		return err
	}
	arena := int64(1)
	for _, s := range d.b.Plan.Steps {
		arena = max(arena, s.ArenaBytes)
	}
	if d.arena, err = d.memory.alloc("activations", arena); err != nil {
		return err
	}
	where := &binding.Memory{Params: d.b.Params, Caches: address(d.caches), File: d.fileAddress, Table: d.table}
	for i, s := range d.b.Plan.Steps {
		if d.steps[i], err = d.newStep(s, where); err != nil {
			return err
		}
	}
	d.slots = binding.NewSlots(d.b.Plan, d.vocab)
	return d.startPool()
}

// watchFiles has the process end in words where a kernel reads what is gone from a
// file: nothing can be given back then. Bytes that are gone without a fault, at the
// end of a page, show in the file's size after the step.
func (d *Device) watchFiles() (*fault.Watch, error) {
	var mappings []fault.Mapping
	for _, f := range d.ck.Files {
		mappings = append(mappings, fault.Mapping{Bytes: f.Bytes(), Path: f.Path()})
	}
	return fault.Start(d.opts.LLVM, d.opts.Cache, mappings)
}

func (d *Device) startPool() error {
	each := int64(d.code.shared+4095) / 4096 * 4096
	shared, err := d.memory.alloc("threadgroup memory", each*int64(d.opts.Threads)+4096)
	if err != nil {
		return err
	}
	d.pool = newPool(d.opts.Threads, func(i int) uintptr { return uintptr(address(shared)) + uintptr(each)*uintptr(i) })
	return nil
}

func (d *Device) fileAddress(file int, offset int64) (uint64, error) {
	if file >= len(d.ck.Files) {
		return 0, fmt.Errorf("the bundle names file %d of the checkpoint, which has %d", file, len(d.ck.Files))
	}
	return address(d.ck.Files[file].Bytes()) + uint64(offset), nil
}

func (d *Device) table(data []byte) (uint64, error) {
	b, err := d.memory.alloc("tables of pieces", int64(len(data)))
	copy(b, data)
	return address(b), err
}

// Close ends the threads and gives memory back.
func (d *Device) Close() error {
	var errs []error
	if d.pool != nil {
		d.pool.close()
	}
	if d.watch != nil {
		errs = append(errs, d.watch.Stop())
	}
	if d.code != nil {
		errs = append(errs, d.code.program.Close())
	}
	if d.probes != nil {
		errs = append(errs, d.probes.close())
	}
	return errors.Join(append(errs, d.memory.free())...)
}

// Name is what --device calls it.
func (d *Device) Name() string { return "cpu" }

// Vocab is the number of logits per row.
func (d *Device) Vocab() int { return d.vocab }

// Reset forgets a slot.
func (d *Device) Reset(slot int32) { d.slots.Reset(slot) }

// Bundle is what the device runs: the one it was opened with, planned for the CPU.
func (d *Device) Bundle() *bundle.Bundle { return d.b }

// CacheRow is the row of a slot that index has in a cache.
func (d *Device) CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	at := c.Offset + int64((int(slot)*c.Capacity+index)*c.Row.Bytes)
	return d.caches[at:][:c.Row.Bytes], nil
}

// Bytes is the memory the device has asked for, without code.
func (d *Device) Bytes() int64 { return d.memory.bytes }

// Prefill runs rows of prompts through the prefill kernels.
func (d *Device) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Prefill], rows, wanted)
}

// Decode runs one row of each slot through the decode kernels.
func (d *Device) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Decode], rows, wanted)
}

func (d *Device) run(s *step, rows []ir.Row, wanted []int) ([]float32, error) {
	if err := d.take(s, rows, wanted, nil); err != nil {
		return nil, err
	}
	return s.logits(0, len(wanted)), nil
}

// take runs a step, which picks tokens if there are choices, and makes its rows
// part of their slots.
func (d *Device) take(s *step, rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	if err := d.slots.Check(s.plan, rows, wanted); err != nil {
		return err
	}
	if err := s.run(rows, wanted, choices); err != nil {
		return err
	}
	if err := d.ck.Intact(); err != nil {
		return err
	}
	d.slots.Take()
	d.last = lastStep{s, len(wanted)}
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

// step is one kind of step, bound to addresses.
type step struct {
	d      *Device
	plan   *plan.Step
	filler *stepblock.Filler
	symbol ir.Env
	block  []byte
	arena  []byte // its part of the device's
	jobs   []job
}

func (d *Device) newStep(p *plan.Step, where *binding.Memory) (*step, error) {
	s := &step{d: d, plan: p, filler: stepblock.New(p.Params), jobs: make([]job, len(p.Dispatches))}
	s.symbol = s.filler.Symbol
	var err error
	if s.block, err = d.memory.alloc("step parameters", int64(s.filler.Bytes())); err != nil {
		return nil, err
	}
	s.arena = d.arena[:p.ArenaBytes]
	var blocks, tables [][]byte
	size := 0
	for _, x := range p.Dispatches {
		b, err := where.Block(x, address(s.arena))
		if err != nil {
			return nil, err
		}
		t := llvm.StepTable(x.Kernel, address(s.block))
		blocks, tables = append(blocks, b), append(tables, t)
		size += len(b) + len(t)
	}
	args, err := d.memory.alloc("arguments", int64(max(size, 1)))
	if err != nil {
		return nil, err
	}
	for i, x := range p.Dispatches {
		j := &s.jobs[i]
		j.fn, j.args = d.code.functions[x.Kernel], uintptr(address(args))
		j.last = i+1 == len(p.Dispatches) || p.Dispatches[i+1].Barrier
		args = args[copy(args, blocks[i]):]
		j.step = uintptr(address(args))
		args = args[copy(args, tables[i]):]
	}
	return s, nil
}

// run executes the step's dispatches.
func (s *step) run(rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	if err := s.filler.Fill(s.block, rows, wanted, choices); err != nil {
		return err
	}
	if s.d.opts.Poison {
		for i := range s.arena {
			s.arena[i] = poisonByte
		}
	}
	for i, x := range s.plan.Dispatches {
		if err := s.launch(&s.jobs[i], x); err != nil {
			return fmt.Errorf("kernel %s of region @%s: %w", x.Kernel.Name, x.Region, err)
		}
	}
	if s.d.opts.Observe == nil {
		s.d.runJobs(s.jobs)
		return nil
	}
	for i, x := range s.plan.Dispatches {
		s.d.pool.run(s.jobs[i : i+1])
		if err := s.observe(x); err != nil {
			return err
		}
	}
	return nil
}

// launch sets a job's grid for the step.
func (s *step) launch(j *job, x *plan.Dispatch) error {
	var grid [3]int64
	for axis, g := range x.Grid {
		n, err := g.Eval(s.symbol)
		if err != nil {
			return err
		}
		grid[axis] = n
	}
	groups := grid[0] * grid[1] * grid[2]
	if groups < 0 || groups > math.MaxInt32 {
		return fmt.Errorf("a grid of %v threadgroups", grid)
	}
	j.width, j.height, j.groups = int32(grid[0]), int32(grid[1]), int32(groups)
	j.reset()
	return nil
}

// observe shows the named values that a dispatch wrote.
func (s *step) observe(x *plan.Dispatch) error {
	for b := range x.Values() {
		n, err := b.Bytes.Eval(s.symbol)
		if err != nil {
			return err
		}
		s.d.opts.Observe(b.Name, s.arena[b.Offset:][:n])
	}
	return nil
}

package cpu

import (
	"context"
	"errors"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/cpu/fault"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/models/checkpoint"
)

// machine is the processor, as a planned.Machine.
type machine struct {
	planned.Visible
	opts   Options
	target target.Target
	ck     *checkpoint.Checkpoint
	memory memory
	room   int64 // for what is kept of slots
	code   *code
	watch  *fault.Watch // of the checkpoint's files
	pool   *pool
	mode   profile.Mode
	probes *probes // nil until they are needed
}

func newMachine(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*machine, *bundle.Bundle, error) {
	var err error
	if o.LLVM == nil {
		if o.LLVM, err = jit.Open(""); err != nil {
			return nil, nil, err
		}
	}
	m := &machine{opts: o, ck: ck}
	if m.target, err = target.Processor(o.LLVM.Host().Lanes()); err != nil {
		return nil, nil, err
	}
	end := o.Begin.Wait("planning for the processor")
	b, err = b.For(m.target)
	end()
	if err != nil {
		return nil, nil, err
	}
	if o.Admit != nil {
		if m.room, err = o.Admit(b, admission.Part{Name: "machine code and its compiler", Bytes: compilerBytes(o.Threads)}); err != nil {
			return nil, nil, err
		}
	}
	if m.code, err = compile(b.Plan.Kernels, o); err != nil {
		return nil, nil, err
	}
	if m.watch, err = m.watchFiles(); err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return m, b, nil
}

// watchFiles has the process end in words where a kernel reads what is gone from a
// file: nothing can be given back then. Bytes that are gone without a fault, at the
// end of a page, show in the file's size after the step.
func (m *machine) watchFiles() (*fault.Watch, error) {
	var mappings []fault.Mapping
	for _, f := range m.ck.Files {
		mappings = append(mappings, fault.Mapping{Bytes: f.Bytes(), Path: f.Path()})
	}
	return fault.Start(m.opts.LLVM, m.opts.Cache, mappings)
}

// Alloc gives memory outside Go's heap.
func (m *machine) Alloc(name string, n int64) (planned.Address, error) {
	b, err := m.memory.alloc(name, n)
	if err != nil {
		return 0, err
	}
	at := planned.Address(address(b))
	m.Show(at, b)
	return at, nil
}

// Room is what the machine was admitted with.
func (m *machine) Room() int64 { return m.room }

// Weight is where the file is mapped.
func (m *machine) Weight(file int, offset, _ int64) (planned.Address, error) {
	return planned.Address(address(m.ck.Files[file].Bytes()) + uint64(offset)), nil
}

// Begin starts the threads.
func (m *machine) Begin() error {
	each := int64(m.code.shared+4095) / 4096 * 4096
	shared, err := m.memory.alloc("threadgroup memory", each*int64(m.opts.Threads)+4096)
	if err != nil {
		return err
	}
	m.pool = newPool(m.opts.Threads, func(i int) uintptr { return uintptr(address(shared)) + uintptr(each)*uintptr(i) })
	return nil
}

// Wait returns at once: steps end before Start does.
func (m *machine) Wait(context.Context, int) error { return nil }

// Close ends the threads and gives memory back.
func (m *machine) Close() error {
	var errs []error
	if m.pool != nil {
		m.pool.close()
	}
	if m.watch != nil {
		errs = append(errs, m.watch.Stop())
	}
	errs = append(errs, m.code.program.Close())
	if m.probes != nil {
		errs = append(errs, m.probes.close())
	}
	return errors.Join(append(errs, m.memory.free())...)
}

// step is one kind of step, bound to addresses.
type step struct {
	m      *machine
	params []byte
	jobs   []job
	times  []time.Duration
}

// Prepare makes a step's jobs. Where the kernels find the step's parameters, field
// by field, is part of their arguments.
func (m *machine) Prepare(p *plan.Step, blocks [][]byte) (planned.Step, error) {
	s := &step{m: m, jobs: make([]job, len(p.Dispatches)), times: make([]time.Duration, len(p.Dispatches))}
	var err error
	if s.params, err = m.memory.alloc("step parameters", int64(max(p.Params.Layout.Bytes(), 1))); err != nil {
		return nil, err
	}
	s.params = s.params[:p.Params.Layout.Bytes()]
	var tables [][]byte
	size := 0
	for i, x := range p.Dispatches {
		tables = append(tables, llvm.StepTable(x.Kernel, address(s.params)))
		size += len(blocks[i]) + len(tables[i])
	}
	args, err := m.memory.alloc("arguments", int64(max(size, 1)))
	if err != nil {
		return nil, err
	}
	for i, x := range p.Dispatches {
		j := &s.jobs[i]
		j.fn, j.args = m.code.functions[x.Kernel], uintptr(address(args))
		j.last = i+1 == len(p.Dispatches) || p.Dispatches[i+1].Barrier
		args = args[copy(args, blocks[i]):]
		j.step = uintptr(address(args))
		args = args[copy(args, tables[i]):]
	}
	return s, nil
}

// Params are where kernels read them.
func (s *step) Params() []byte { return s.params }

// Begun is the job that the caller's thread is at.
func (s *step) Begun() int { return int(s.m.pool.begun.Load()) }

// Start runs dispatches to their end.
func (s *step) Start(grids [][3]int64, from, to int) error {
	jobs := s.jobs[from:to]
	for i := range jobs {
		g := grids[from+i]
		jobs[i].width, jobs[i].height, jobs[i].groups = int32(g[0]), int32(g[1]), int32(g[0]*g[1]*g[2])
		jobs[i].reset()
	}
	s.m.run(jobs)
	return nil
}

// run runs jobs, which in a profile of cold caches come after other memory was read.
func (m *machine) run(jobs []job) {
	if m.mode != profile.Cold {
		m.pool.run(jobs)
		return
	}
	for i := range jobs {
		m.runProbe(m.probes.read)
		m.pool.run(jobs[i : i+1])
	}
}

// Times are zeros but in a profile.
func (s *step) Times() []time.Duration {
	for i := range s.jobs {
		s.times[i] = s.jobs[i].elapsed()
	}
	return s.times
}

// Profile says how jobs are timed.
func (m *machine) Profile(mode profile.Mode) error {
	if mode == profile.Cold {
		if _, err := m.openProbes(); err != nil {
			return err
		}
	}
	m.mode = mode
	m.pool.profile = mode != profile.Off
	return nil
}

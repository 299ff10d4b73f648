package standin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/models/checkpoint"
)

// machine is the process that runs the kernels, as a planned.Machine.
type machine struct {
	opts  Options
	host  *standin.Host
	dir   string
	files []standin.Addr
	seed  uint64
	room  int64 // for what is kept of slots
}

func newMachine(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (planned.Machine, *bundle.Bundle, error) {
	if b.Plan.Target.Language != target.Metal {
		var err error
		if b, err = b.For(target.GPU); err != nil {
			return nil, nil, err
		}
	}
	m := &machine{opts: o}
	if o.Admit != nil {
		var err error
		if m.room, err = o.Admit(b); err != nil {
			return nil, nil, err
		}
	}
	if err := m.start(b, ck); err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return m, b, nil
}

func (m *machine) start(b *bundle.Bundle, ck *checkpoint.Checkpoint) error {
	compiler, err := standin.Find()
	if err != nil {
		return err
	}
	sources := map[string]string{}
	for _, k := range b.Plan.Kernels {
		if sources[k.Name+".metal"], err = b.Text(k.Name); err != nil {
			return err
		}
	}
	if m.dir, err = os.MkdirTemp("", "smelt-standin-"); err != nil {
		return err
	}
	program, err := compiler.Build(m.dir, sources, standin.Options{Sanitize: m.opts.Sanitize, Unoptimized: m.opts.Quick, SharedMemory: b.Plan.Target.SharedMemory, Begin: m.opts.Begin})
	if err != nil {
		return err
	}
	if m.host, err = program.Start(); err != nil {
		return err
	}
	return m.mapFiles(ck)
}

// mapFiles has the host map the checkpoint's files. It opens them by their paths,
// where other files may lie by now.
func (m *machine) mapFiles(ck *checkpoint.Checkpoint) error {
	for _, f := range ck.Files {
		path, err := filepath.Abs(f.Path())
		if err != nil {
			return err
		}
		at, _, err := m.host.Map(path)
		if err != nil {
			return err
		}
		if err := f.StillAt(path); err != nil {
			return err
		}
		m.files = append(m.files, at)
	}
	return nil
}

// Alloc reserves memory of the host's, outside of which sanitizers let nothing be
// read or written.
func (m *machine) Alloc(_ string, n int64) (planned.Address, error) {
	at, err := m.host.Alloc(int(n), planned.PoisonByte)
	return planned.Address(at), err
}

// Room is what the machine was admitted with.
func (m *machine) Room() int64 { return m.room }

// Weight is where the host has mapped the file.
func (m *machine) Weight(file int, offset, _ int64) (planned.Address, error) {
	return planned.Address(m.files[file]) + planned.Address(offset), nil
}

// Read asks the host for memory.
func (m *machine) Read(to []byte, from planned.Address) error {
	data, err := m.host.Read(standin.Addr(from), len(to))
	copy(to, data)
	return err
}

// Write sends the host memory.
func (m *machine) Write(to planned.Address, bytes []byte) error {
	return m.host.Write(standin.Addr(to), bytes)
}

// Copy reads and writes.
func (m *machine) Copy(to, from planned.Address, n int64) error {
	data, err := m.host.Read(standin.Addr(from), int(n))
	if err != nil {
		return err
	}
	return m.host.Write(standin.Addr(to), data)
}

// Begin does nothing.
func (m *machine) Begin() error { return nil }

// Wait returns at once: steps end before Start does.
func (m *machine) Wait(context.Context, int) error { return nil }

// Close ends the process that runs kernels.
func (m *machine) Close() error {
	var errs []error
	if m.host != nil {
		errs = append(errs, m.host.Close())
	}
	if m.dir != "" {
		errs = append(errs, os.RemoveAll(m.dir))
	}
	return errors.Join(errs...)
}

// step is one kind of step, bound to the host's addresses.
type step struct {
	m      *machine
	plan   *plan.Step
	args   [][]byte
	params []byte
	used   []stepblock.Span
	at     standin.Addr // of the parameters
	begun  atomic.Int64 // dispatches
}

// Prepare reserves memory for the step's parameters.
func (m *machine) Prepare(p *plan.Step, args [][]byte) (planned.Step, error) {
	s := &step{m: m, plan: p, args: args, params: make([]byte, p.Params.Layout.Bytes())}
	var err error
	s.at, err = m.host.Alloc(len(s.params), planned.PoisonByte)
	return s, err
}

// Params are sent to the host at the step's start.
func (s *step) Params() []byte { return s.params }

// Use says which parts of them: kernels that read others find what Prepare put there.
func (s *step) Use(parts []stepblock.Span) { s.used = parts }

// Begun is the dispatch that runs.
func (s *step) Begun() int { return int(s.begun.Load()) }

// Times are none: nobody would learn from them.
func (s *step) Times() []time.Duration { return nil }

// Start runs dispatches to their end.
func (s *step) Start(grids [][3]int64, from, to int) error {
	for _, part := range s.used {
		if err := s.m.host.Write(s.at+standin.Addr(part.From), s.params[part.From:part.To]); err != nil {
			return err
		}
	}
	for i := from; i < to; i++ {
		s.begun.Store(int64(i - from))
		x := s.plan.Dispatches[i]
		if err := s.launch(i, x, grids[i]); err != nil {
			return fmt.Errorf("dispatch %d, kernel %s of region @%s: %w", i, x.Kernel.Name, x.Region, err)
		}
	}
	return nil
}

func (s *step) launch(i int, x *plan.Dispatch, grid [3]int64) error {
	l := standin.Launch{Kernel: x.Kernel.Name, Threads: uint32(x.Kernel.Schedule.Threads), Args: s.args[i], Step: s.at, Poison: planned.PoisonByte, Seed: s.m.seed}
	s.m.seed++
	if s.m.opts.SameOrder {
		s.m.seed++
	}
	for axis, n := range grid {
		if n == 0 {
			return nil
		}
		l.Grid[axis] = uint32(n)
	}
	return s.m.host.Launch(l)
}

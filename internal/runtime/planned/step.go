package planned

import (
	"bytes"
	"fmt"
	"math"
	"sync/atomic"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/ir"
)

// bind makes the argument blocks of all dispatches, by step, and the tables that
// they point to.
func (d *Device) bind() ([][][]byte, error) {
	var tables devmem.Tables
	where := &devmem.Memory{Params: d.b.Params, Caches: uint64(d.caches), Tables: &tables,
		Weight: func(file int, offset, bytes int64) (uint64, error) {
			if file < 0 || file >= len(d.ck.Files) {
				return 0, fmt.Errorf("the bundle names file %d of the checkpoint, which has %d", file, len(d.ck.Files))
			}
			at, err := d.machine.Weight(file, offset, bytes)
			return uint64(at), err
		}}
	args, err := d.blocks(where)
	if err != nil || len(tables.Bytes()) == 0 {
		return args, err
	}
	base, err := d.machine.Alloc("tables of pieces", int64(len(tables.Bytes())))
	if err != nil {
		return nil, err
	}
	if err := d.machine.Write(base, tables.Bytes()); err != nil {
		return nil, err
	}
	tables.Base = uint64(base)
	return d.blocks(where)
}

func (d *Device) blocks(where *devmem.Memory) (args [][][]byte, err error) {
	for _, s := range d.b.Plan.Steps {
		blocks := make([][]byte, len(s.Dispatches))
		for i, x := range s.Dispatches {
			if blocks[i], err = where.Block(x, uint64(d.arena)); err != nil {
				return nil, err
			}
		}
		args = append(args, blocks)
	}
	return args, nil
}

// step is one kind of step.
type step struct {
	d      *Device
	plan   *plan.Step
	bound  Step
	filler *stepblock.Filler
	symbol ir.Env
	grids  [][3]int64
	depend []string     // by dispatch: the one symbol that its grid depends on, "" if that is none or several
	values []int64      // of those, for which the grids are there; -1: there is none
	from   atomic.Int64 // of the dispatches that were launched last

	block   []byte  // the parameters that were filled last
	sources []int32 // of its rows' tokens, made once
}

func newStep(d *Device, p *plan.Step, bound Step) *step {
	n := len(p.Dispatches)
	s := &step{d: d, plan: p, bound: bound, filler: stepblock.New(p.Params), grids: make([][3]int64, n), depend: make([]string, n), values: make([]int64, n)}
	s.symbol = s.filler.Symbol
	for i, x := range p.Dispatches {
		s.depend[i], _ = p.RowsAlone(x)
		s.values[i] = -1
	}
	return s
}

// fill writes the step's parameters.
func (s *step) fill(a asked) error {
	s.block = s.bound.Params()
	return s.filler.Fill(s.block, a.rows, a.wanted, a.choices)
}

// use makes grids of what was written, for the dispatches from one to before another, and
// says what of it kernels read.
func (s *step) use(from, to int) error {
	if c, ok := s.bound.(Copied); ok {
		c.Use(s.filler.Used())
	}
	name, value := "", int64(0) // the symbol asked for last: mostly it is the same again
	for i := from; i < to; i++ {
		if of := s.depend[i]; of != "" {
			if of != name {
				name = of
				value, _ = s.symbol(of)
			}
			if s.values[i] == value {
				continue // most grids are those of the step before
			}
			s.values[i] = value
		}
		x := s.plan.Dispatches[i]
		if err := s.grid(&s.grids[i], x); err != nil {
			s.values[i] = -1
			return fmt.Errorf("kernel %s of region @%s: %w", x.Kernel.Name, x.Region, err)
		}
	}
	return nil
}

// grid is a dispatch's grid in the step whose parameters were filled last.
func (s *step) grid(grid *[3]int64, x *plan.Dispatch) (err error) {
	groups := int64(1)
	for axis, g := range x.Grid {
		if grid[axis], err = g.Eval(s.symbol); err != nil {
			return err
		}
		if grid[axis] < 0 || grid[axis] > math.MaxInt32 {
			return fmt.Errorf("a grid of %d threadgroups along axis %d", grid[axis], axis)
		}
		if groups *= grid[axis]; groups > math.MaxInt32 {
			return fmt.Errorf("a grid of %d threadgroups or more", groups)
		}
	}
	return nil
}

// run runs dispatches of a step that was filled, from one to before another, to their
// end.
func (s *step) run(from, to int) error {
	s.d.running.Store(s)
	defer s.d.running.Store(nil)
	if err := s.begin(from, to); err != nil {
		return err
	}
	return s.d.wait(s.d.ahead.starts)
}

// begin begins a step that was filled. Where it is looked into, it runs to the end.
func (s *step) begin(from, to int) error {
	if s.d.opts.Poison {
		if err := s.poison(); err != nil {
			return err
		}
	}
	if s.d.opts.Observe == nil {
		return s.launch(from, to)
	}
	for i := from; i < to; i++ {
		if err := s.launch(i, i+1); err != nil {
			return err
		}
		if err := s.d.wait(s.d.ahead.starts); err != nil {
			return err
		}
		if err := s.observe(s.plan.Dispatches[i]); err != nil {
			return err
		}
	}
	return nil
}

// launch begins the dispatches from one to before another.
func (s *step) launch(from, to int) error {
	s.from.Store(int64(from))
	if err := s.bound.Start(s.grids, from, to); err != nil {
		return err
	}
	s.d.ahead.starts++
	return nil
}

// observe shows the named values that a dispatch wrote, and writes back what was
// changed.
func (s *step) observe(x *plan.Dispatch) error {
	for b := range x.Values() {
		n, err := b.Bytes.Eval(s.symbol)
		if err != nil {
			return err
		}
		at := s.d.arena + Address(b.Offset)
		data, err := s.d.read(at, n)
		if err != nil {
			return err
		}
		shown := bytes.Clone(data)
		s.d.opts.Observe(b.Name, shown)
		if bytes.Equal(data, shown) {
			continue
		}
		if err := s.d.machine.Write(at, shown); err != nil {
			return err
		}
	}
	return nil
}

// Package standin runs a bundle's Metal kernels on a machine without Metal:
// the emitted text is compiled by clang against a stand-in for the Metal
// standard library and executed on the CPU (package codegen/msl/standin). It is
// slow, and there to prove kernels, not to be used for text.
package standin

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"smelt/codegen/bundle"
	"smelt/codegen/msl/standin"
	"smelt/codegen/plan"
	"smelt/codegen/program"
	"smelt/codegen/storage"
	"smelt/codegen/target"
	"smelt/internal/option"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/models/checkpoint"
	"smelt/runtime/binding"
	"smelt/runtime/sampling"
	"smelt/runtime/stepblock"
)

// Options says how kernels run.
type Options struct {
	// Sanitize builds them with address and undefined-behaviour sanitizers.
	Sanitize bool
	// Quick builds them in a fifth of the time, to run several times slower: for
	// short prompts.
	Quick bool
	// Observe, if not nil, sees the arena's named values after the dispatch that
	// writes them, as many bytes as the step needs; what it returns, unless nil,
	// takes their place.
	Observe func(name string, data []byte) []byte
	// Poison fills the arena with NaNs before every step.
	Poison bool
	// SameOrder makes every launch add up a SIMD group's lanes in one order, as
	// a GPU does. Else launches alternate between two, so that nothing can
	// depend on it beyond rounding.
	SameOrder bool
}

// Device is a device.Device.
type Device struct {
	b      *bundle.Bundle
	ck     *checkpoint.Checkpoint
	opts   Options
	host   *standin.Host
	dir    string
	caches standin.Addr
	files  []standin.Addr
	tables map[program.WeightArg]standin.Addr
	steps  [2]*stepRunner
	next   map[int32]int32
	vocab  int
	seed   uint64
	last   lastStep
}

// poisonByte makes NaNs, and -1 of integers.
const poisonByte = 0xff

// Open compiles the bundle's kernels and maps the checkpoint's files.
func Open(b *bundle.Bundle, ck *checkpoint.Checkpoint, o Options) (*Device, error) {
	b, err := b.For(target.GPU)
	if err != nil {
		return nil, err
	}
	d := &Device{b: b, ck: ck, opts: o, tables: map[program.WeightArg]standin.Addr{}, next: map[int32]int32{}}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) start() (err error) {
	if err := d.ck.Ready(); err != nil {
		return err
	}
	compiler, err := standin.Find()
	if err != nil {
		return err
	}
	sources := map[string]string{}
	for _, k := range d.b.Plan.Kernels {
		if sources[k.Name+".metal"], err = d.b.Text(k.Name); err != nil {
			return err
		}
	}
	if d.dir, err = os.MkdirTemp("", "smelt-standin-"); err != nil {
		return err
	}
	program, err := compiler.Build(d.dir, sources, standin.Options{Sanitize: d.opts.Sanitize, Unoptimized: d.opts.Quick})
	if err != nil {
		return err
	}
	if d.host, err = program.Start(); err != nil {
		return err
	}
	if err := d.mapFiles(); err != nil {
		return err
	}
	if d.caches, err = d.host.Alloc(int(max(d.b.Plan.CacheBytes, 1)), poisonByte); err != nil {
		return err
	}
	for i, s := range d.b.Plan.Steps {
		if d.steps[i], err = d.newStep(s); err != nil {
			return err
		}
	}
	d.vocab, err = vocabOf(d.b.Module)
	return err
}

// mapFiles has the host map the checkpoint's files. It opens them by their paths,
// where other files may lie by now.
func (d *Device) mapFiles() error {
	for _, f := range d.ck.Files {
		path, err := filepath.Abs(f.Path())
		if err != nil {
			return err
		}
		at, _, err := d.host.Map(path)
		if err != nil {
			return err
		}
		if err := f.StillAt(path); err != nil {
			return err
		}
		d.files = append(d.files, at)
	}
	return nil
}

func vocabOf(m *ir.Module) (int, error) {
	t := m.Results[0].Type
	n, ok := t.Shape[t.Rank()-1].Value()
	if !ok || t.Rank() != 2 {
		return 0, fmt.Errorf("module @%s returns %s; a model returns logits [wanted, vocabulary]", m.Name, t)
	}
	return int(n), nil
}

// Close ends the process that runs kernels.
func (d *Device) Close() error {
	var errs []error
	if d.host != nil {
		errs = append(errs, d.host.Close())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// Name is what --device calls it.
func (d *Device) Name() string { return "standin" }

// Bundle is what the device runs: the one it was opened with, planned for Metal.
func (d *Device) Bundle() *bundle.Bundle { return d.b }

// CacheRow reads the row of a slot that index has in a cache.
func (d *Device) CacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	at := c.Offset + int64((int(slot)*c.Capacity+index)*c.Row.Bytes)
	return d.host.Read(d.caches+standin.Addr(at), c.Row.Bytes)
}

// Vocab is the number of logits per row.
func (d *Device) Vocab() int { return d.vocab }

// Reset forgets a slot.
func (d *Device) Reset(slot int32) { delete(d.next, slot) }

// Prefill runs rows of prompts through the prefill kernels.
func (d *Device) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Prefill], rows, wanted)
}

// Decode runs one row of each slot through the decode kernels.
func (d *Device) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.run(d.steps[program.Decode], rows, wanted)
}

func (d *Device) run(s *stepRunner, rows []ir.Row, wanted []int) ([]float32, error) {
	if err := d.take(s, rows, wanted, nil); err != nil {
		return nil, err
	}
	return s.logits(0, len(wanted))
}

// take runs a step, which picks tokens if there are choices, and makes its rows
// part of their slots.
func (d *Device) take(s *stepRunner, rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	if err := d.check(s, rows, wanted); err != nil {
		return err
	}
	// A host that reads what is gone from a file ends: the file is why.
	err := s.run(rows, wanted, choices)
	if err := cmp.Or(d.ck.Intact(), err); err != nil {
		return err
	}
	for _, r := range rows {
		d.next[r.Slot] = r.Position + 1
	}
	d.last = lastStep{s, len(wanted)}
	return nil
}

// check refuses what the plan has no room for, rows that do not follow and tokens
// outside the vocabulary.
func (d *Device) check(s *stepRunner, rows []ir.Row, wanted []int) error {
	p := d.b.Plan
	if len(rows) < 1 || len(rows) > s.plan.MaxRows {
		return option.Errorf("a %s step of %d rows; the bundle takes 1 to %d (compile with a larger %s)", s.plan.Phase, len(rows), s.plan.MaxRows, option.Name("Chunk"))
	}
	if len(wanted) > p.Wanted {
		return option.Errorf("%d rows wanted; the bundle takes %d (compile with more %s)", len(wanted), p.Wanted, option.Name("Wanted"))
	}
	next := map[int32]int32{}
	for i, r := range rows {
		want, seen := next[r.Slot]
		if !seen {
			want = d.next[r.Slot]
		}
		if r.Slot < 0 || int(r.Slot) >= p.Slots || r.Position != want || int(r.Position) >= p.Context {
			return fmt.Errorf("row %d: slot %d at position %d; expected slot 0 to %d, which goes on at %d, and a context of %d", i, r.Slot, r.Position, p.Slots-1, want, p.Context)
		}
		if err := binding.CheckToken(i, r, d.vocab); err != nil {
			return err
		}
		next[r.Slot] = r.Position + 1
	}
	for _, w := range wanted {
		if w < 0 || w >= len(rows) {
			return fmt.Errorf("wanted row %d is outside %d rows", w, len(rows))
		}
	}
	return nil
}

// stepRunner holds one kind of step, bound to addresses.
type stepRunner struct {
	d              *Device
	plan           *plan.Step
	filler         *stepblock.Filler
	block          []byte
	blockAt, arena standin.Addr
	args           [][]byte
}

func (d *Device) newStep(s *plan.Step) (*stepRunner, error) {
	r := &stepRunner{d: d, plan: s, filler: stepblock.New(s.Params)}
	r.block = make([]byte, r.filler.Bytes())
	var err error
	if r.blockAt, err = d.host.Alloc(len(r.block), poisonByte); err != nil {
		return nil, err
	}
	if r.arena, err = d.host.Alloc(int(max(s.ArenaBytes, 1)), poisonByte); err != nil {
		return nil, err
	}
	for _, x := range s.Dispatches {
		args, err := r.bind(x)
		if err != nil {
			return nil, fmt.Errorf("kernel %s of region @%s: %w", x.Kernel.Name, x.Region, err)
		}
		r.args = append(r.args, args)
	}
	return r, nil
}

// bind makes the argument block of a dispatch.
func (r *stepRunner) bind(x *plan.Dispatch) ([]byte, error) {
	offsets, size := x.Kernel.Args()
	block := make([]byte, size)
	for i, a := range x.Args {
		at := block[offsets[i]:]
		switch {
		case a.Scalar != nil:
			binary.LittleEndian.PutUint32(at, uint32(*a.Scalar))
			continue
		case a.Buffer != nil:
			binary.LittleEndian.PutUint64(at, uint64(r.arena)+uint64(a.Buffer.Offset))
		case a.Cache != nil:
			binary.LittleEndian.PutUint64(at, uint64(r.d.caches)+uint64(a.Cache.Offset))
		case a.Weight != nil:
			addr, err := r.d.weight(*a.Weight)
			if err != nil {
				return nil, err
			}
			binary.LittleEndian.PutUint64(at, uint64(addr))
		}
	}
	return block, nil
}

// weight is the address of a plane, aligned down to what it is read as, or of its table.
func (d *Device) weight(w program.WeightArg) (standin.Addr, error) {
	p, err := d.b.Params.Get(w.Param)
	if err != nil {
		return 0, err
	}
	if len(p.Pieces) == 1 {
		return d.place(p.Pieces[0], w.Role) &^ standin.Addr(w.Align-1), nil
	}
	starts := make([]standin.Addr, len(p.Pieces))
	for i, pc := range p.Pieces {
		at, err := p.Start(i, w.Role)
		if err != nil {
			return 0, err
		}
		starts[i] = d.files[pc.Plane(w.Role).File] + standin.Addr(at)
	}
	first := slices.Min(starts) &^ standin.Addr(w.Align-1)
	if !w.Table {
		return first, nil
	}
	if at, ok := d.tables[w]; ok {
		return at, nil
	}
	var table []byte
	for _, at := range starts {
		table = binary.LittleEndian.AppendUint64(table, uint64(at-first))
	}
	at, err := d.host.Alloc(len(table), poisonByte)
	if err != nil {
		return 0, err
	}
	d.tables[w] = at
	return at, d.host.Write(at, table)
}

func (d *Device) place(p storage.Piece, r encoding.Role) standin.Addr {
	e := p.Plane(r)
	return d.files[e.File] + standin.Addr(e.Offset)
}

// run executes the step's dispatches in order.
func (r *stepRunner) run(rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	d := r.d
	if err := r.filler.Fill(r.block, rows, wanted, choices); err != nil {
		return err
	}
	if err := d.host.Write(r.blockAt, r.block); err != nil {
		return err
	}
	if d.opts.Poison {
		poison := make([]byte, r.plan.ArenaBytes)
		for i := range poison {
			poison[i] = poisonByte
		}
		if err := d.host.Write(r.arena, poison); err != nil {
			return err
		}
	}
	for i, x := range r.plan.Dispatches {
		if err := r.dispatch(i, x); err != nil {
			return fmt.Errorf("dispatch %d, kernel %s of region @%s: %w", i, x.Kernel.Name, x.Region, err)
		}
	}
	return nil
}

// logits are those of n wanted rows from the first on.
func (r *stepRunner) logits(first, n int) ([]float32, error) {
	vocab := r.d.vocab
	out, err := r.d.host.Read(r.arena+standin.Addr(r.plan.Results[0].Offset+int64(4*vocab*first)), 4*vocab*n)
	if err != nil {
		return nil, err
	}
	logits := make([]float32, vocab*n)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:]))
	}
	return logits, nil
}

func (r *stepRunner) dispatch(i int, x *plan.Dispatch) error {
	d := r.d
	l := standin.Launch{Kernel: x.Kernel.Name, Threads: uint32(x.Kernel.Schedule.Threads), Args: r.args[i], Step: r.blockAt, Poison: poisonByte, Seed: d.seed}
	d.seed++
	if d.opts.SameOrder {
		d.seed++
	}
	groups := int64(1)
	for axis, g := range x.Grid {
		n, err := g.Eval(r.filler.Symbol)
		if err != nil {
			return err
		}
		l.Grid[axis] = uint32(n)
		groups *= n
	}
	if groups == 0 {
		return nil
	}
	if err := d.host.Launch(l); err != nil {
		return err
	}
	if d.opts.Observe == nil {
		return nil
	}
	return r.observe(x)
}

// observe shows the named values that a dispatch wrote.
func (r *stepRunner) observe(x *plan.Dispatch) error {
	for b := range x.Values() {
		n, err := b.Bytes.Eval(r.filler.Symbol)
		if err != nil {
			return err
		}
		at := r.arena + standin.Addr(b.Offset)
		data, err := r.d.host.Read(at, int(n))
		if err != nil {
			return err
		}
		if data = r.d.opts.Observe(b.Name, data); data != nil {
			if err := r.d.host.Write(at, data); err != nil {
				return err
			}
		}
	}
	return nil
}

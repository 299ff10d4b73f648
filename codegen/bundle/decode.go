package bundle

import (
	"fmt"
	"slices"

	"smelt/codegen/kernel"
	"smelt/codegen/lower"
	"smelt/codegen/plan"
	"smelt/codegen/storage"
	"smelt/codegen/target"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/ir/ops"
	"smelt/ir/text"
)

// decoder rebuilds a plan from the document. The first error sticks; it says
// where in bundle.json something is wrong.
type decoder struct {
	doc     *document
	module  *ir.Module
	kernels map[string]*kernel.Kernel
	plan    *plan.Plan
	params  storage.Parameters
	formula *text.Formulas
	err     error
}

func (d *decoder) fail(where, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) expr(where, s string) ir.Expr {
	e, err := d.formula.Parse(s)
	if err != nil {
		d.fail(where, "%v", err)
		return ir.Const(0)
	}
	e.Walk(func(name string) {
		if !slices.ContainsFunc(d.doc.Symbols, func(s symbolDoc) bool { return s.Name == name }) {
			d.fail(where, "formula %q names the unknown symbol %s", s, name)
		}
	})
	return e
}

func (d *decoder) decode() {
	o := d.doc.Options
	t := d.target()
	d.plan = &plan.Plan{Options: plan.Options{Context: o.Context, Chunk: o.Chunk, Slots: o.Slots, Wanted: o.Wanted, Target: t}}
	if err := d.plan.Options.Check(); err != nil {
		d.fail("options", "%v", err)
	}
	for i, name := range d.doc.Kernels {
		k := d.kernels[name]
		if k == nil {
			d.fail(fmt.Sprintf("kernels[%d]", i), "no kernel %q", name)
			return
		}
		d.plan.Kernels = append(d.plan.Kernels, k)
	}
	for i, c := range d.doc.Caches {
		d.cache(fmt.Sprintf("caches[%d]", i), c)
	}
	for i, p := range d.doc.Parameters {
		d.parameter(fmt.Sprintf("parameters[%d] (%s)", i, p.Name), p)
	}
	if len(d.doc.Steps) != 2 {
		d.fail("steps", "expected decode and prefill, found %d", len(d.doc.Steps))
		return
	}
	for i, s := range d.doc.Steps {
		d.step(fmt.Sprintf("steps[%d]", i), lower.Kind(i), s)
	}
}

// target is the document's, with its limit of threads.
func (d *decoder) target() target.Target {
	t, err := target.Named(d.doc.Target)
	if err != nil || d.doc.Target != t.Name { // "cpu" is another target on another machine
		d.fail("target", "found %q, expected one of the targets of smelt compile", d.doc.Target)
		return t
	}
	if d.doc.Threads == 0 {
		return t
	}
	less, err := t.WithThreads(d.doc.Threads)
	if err == nil && less == t {
		err = fmt.Errorf("%d are the target's own; expected none to be given", t.MaxThreads)
	}
	if err != nil {
		d.fail("threads", "%v", err)
	}
	return less
}

func (d *decoder) cache(where string, c cacheDoc) {
	state := d.module.State(c.State)
	if state == nil {
		d.fail(where, "plan.ir declares no state @%s", c.State)
		return
	}
	format, err := encoding.ParseRow(c.Stored)
	if err != nil {
		d.fail(where, "%v", err)
		return
	}
	row, err := format.Layout(c.Width)
	if err != nil {
		d.fail(where, "%v", err)
		return
	}
	if row.Bytes != c.RowBytes || c.Capacity < 1 || c.Slots < 1 || c.Offset < 0 || c.Offset%256 != 0 || int64(c.Capacity) > c.Bytes/int64(row.Bytes)/int64(c.Slots) {
		d.fail(where, "%d slots of %d rows of %d bytes do not make %d bytes at %d", c.Slots, c.Capacity, c.RowBytes, c.Bytes, c.Offset)
		return
	}
	cache := &plan.Cache{Cache: lower.Cache{State: state, Row: row, Capacity: c.Capacity, Ring: c.Ring, Slots: c.Slots}, Offset: c.Offset, Bytes: c.Bytes}
	d.plan.Caches = append(d.plan.Caches, cache)
	d.plan.CacheBytes = max(d.plan.CacheBytes, c.Offset+c.Bytes)
}

func (d *decoder) parameter(where string, p paramDoc) {
	q := &storage.Parameter{Name: p.Name, Rows: p.Rows, Cols: p.Cols, Lead: max(p.Lead, 1), Integer: encoding.DType(p.Integer)}
	if p.Encoding != "" {
		e, err := encoding.Parse(p.Encoding)
		if err != nil {
			d.fail(where, "%v", err)
			return
		}
		q.Encoding = e
	}
	for _, pc := range p.Pieces {
		q.Pieces = append(q.Pieces, storage.Piece{First: pc.First, Rows: pc.Rows, StoredFirst: pc.Stored,
			Weight: d.extent(where, &pc.Weight), Scales: d.extent(where, pc.Scales), Biases: d.extent(where, pc.Biases)})
	}
	if len(q.Pieces) == 0 || q.Rows < 1 || q.Cols < 1 {
		d.fail(where, "%d x %d values in %d pieces", q.Rows, q.Cols, len(q.Pieces))
	}
	d.params[q.Name] = q
}

func (d *decoder) extent(where string, t *[3]int64) storage.Extent {
	if t == nil {
		return storage.Extent{}
	}
	e := storage.Extent{File: int(t[0]), Offset: t[1], Bytes: t[2]}
	if t[0] < 0 || t[0] >= int64(len(d.doc.Model.Files)) {
		d.fail(where, "file %d is not one of %d", t[0], len(d.doc.Model.Files))
		return e
	}
	if f := d.doc.Model.Files[t[0]]; e.Offset < 0 || e.Bytes < 0 || e.Offset > f.Bytes || e.Bytes > f.Bytes-e.Offset {
		d.fail(where, "bytes %d to %d lie beyond file %s of %d", e.Offset, e.Offset+e.Bytes, f.Name, f.Bytes)
	}
	return e
}

func (d *decoder) step(where string, kind lower.Kind, s stepDoc) {
	if s.Kind != kind.String() || s.MaxRows < 1 || s.MaxRows > 1<<14 {
		d.fail(where, "expected a %s step of 1 to 16384 rows, found %q of %d", kind, s.Kind, s.MaxRows)
		return
	}
	step := &plan.Step{Kind: kind, MaxRows: s.MaxRows, ArenaBytes: s.ArenaBytes, Limits: s.Limits, Params: lower.NewStep(d.module, s.MaxRows)}
	if !d.sameStep(step.Params, s) {
		d.fail(where, "the step parameters are not those of plan.ir")
		return
	}
	for i, b := range s.Buffers {
		at := fmt.Sprintf("%s.buffers[%d]", where, i)
		buf := &plan.Buffer{Name: b.Name, Bytes: d.expr(at, b.Bytes), Size: b.Size, Offset: b.Offset, First: b.First, Last: b.Last, Scratch: b.Scratch}
		if b.Offset < 0 || b.Size < 0 || b.Offset > s.ArenaBytes || b.Size > s.ArenaBytes-b.Offset {
			d.fail(at, "bytes %d to %d lie beyond an arena of %d", b.Offset, b.Offset+b.Size, s.ArenaBytes)
		}
		step.Buffers = append(step.Buffers, buf)
	}
	for i, r := range s.Results {
		if r < 0 || r >= len(step.Buffers) {
			d.fail(fmt.Sprintf("%s.results[%d]", where, i), "buffer %d is not one of %d", r, len(step.Buffers))
			return
		}
		step.Results = append(step.Results, step.Buffers[r])
	}
	if (s.Tokens != nil) != (lower.Logits(d.module) != nil) || s.Tokens != nil && (*s.Tokens < 0 || *s.Tokens >= len(step.Buffers)) {
		d.fail(where, "the buffer of tokens is not one of %d, or plan.ir returns no logits to pick them from", len(step.Buffers))
		return
	}
	if s.Tokens != nil {
		step.Tokens = step.Buffers[*s.Tokens]
	}
	for i, x := range s.Dispatches {
		step.Dispatches = append(step.Dispatches, d.dispatch(fmt.Sprintf("%s.dispatches[%d]", where, i), step, x))
		if d.err != nil {
			return
		}
	}
	d.plan.Steps = append(d.plan.Steps, step)
}

func (d *decoder) sameStep(have *lower.Step, want stepDoc) bool {
	if !slices.Equal(have.Closing, want.Closing) || len(have.Ropes) != len(want.Ropes) {
		return false
	}
	for i, r := range want.Ropes {
		a := ops.RopeAttr{Dims: r.Dims, Theta: r.Theta, Factor: r.Factor, Original: r.Original, BetaFast: r.BetaFast, BetaSlow: r.BetaSlow}
		if have.Ropes[i] != (lower.StepRope{Attr: a, Ratio: r.Ratio}) {
			return false
		}
	}
	return true
}

func (d *decoder) dispatch(where string, s *plan.Step, x dispatchDoc) *plan.Dispatch {
	k := d.kernels[x.Kernel]
	if k == nil || len(x.Args) != len(k.Params) {
		d.fail(where, "kernel %q does not exist or does not take %d arguments", x.Kernel, len(x.Args))
		return nil
	}
	out := &plan.Dispatch{Kernel: k, Region: x.Region, Role: x.Role, Level: x.Level, Barrier: x.Barrier, CommandBuffer: x.CommandBuffer}
	for i, g := range x.Grid {
		out.Grid[i] = d.expr(where, g)
	}
	for i, a := range x.Args {
		out.Args = append(out.Args, d.arg(fmt.Sprintf("%s.args[%d]", where, i), s, k.Params[i], a))
	}
	return out
}

func (d *decoder) arg(where string, s *plan.Step, p *kernel.Param, a argDoc) plan.Arg {
	out := plan.Arg{Param: p, Scalar: a.Scalar, Needs: d.expr(where, a.Needs)}
	switch {
	case a.Buffer != nil && *a.Buffer >= 0 && *a.Buffer < len(s.Buffers):
		out.Buffer = s.Buffers[*a.Buffer]
	case a.Cache != nil && *a.Cache >= 0 && *a.Cache < len(d.plan.Caches):
		out.Cache = d.plan.Caches[*a.Cache]
	case a.Weight != nil && d.params[a.Weight.Param] != nil:
		out.Weight = &lower.WeightArg{Param: a.Weight.Param, Align: a.Weight.Align, Table: a.Weight.Table}
		if n := a.Weight.Align; n != 1 && n != 2 && n != 4 {
			d.fail(where, "alignment %d is not 1, 2 or 4", n)
		}
		for _, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
			if r.String() == a.Weight.Plane {
				out.Weight.Role = r
				return out
			}
		}
		d.fail(where, "plane %q is not weight, scales or biases", a.Weight.Plane)
	case a.Scalar == nil:
		d.fail(where, "bound to nothing that the bundle has")
	}
	return out
}

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/lower"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
)

// buildStep lowers every region for one kind of step and plans the launches. done is
// told of each region.
func (p *Plan) buildStep(m *ir.Module, params storage.Parameters, phase program.Phase, names *namer, done func(n int64)) (*Step, error) {
	rows := p.maxRows(phase)
	s := &Step{Phase: phase, MaxRows: rows, Params: program.NewStep(m, rows), Limits: p.limits(m, phase)}
	b := &builder{plan: p, step: s, params: params, names: names, values: map[*ir.Value]*Buffer{}, scratch: map[*program.Scratch]*Buffer{}, areas: map[string]*Buffer{}}
	caches := p.cachesOf(phase)
	memo, covered := lower.NewMemo(), 0
	var all []lowered
	for _, r := range m.Regions {
		if r.From != covered {
			break
		}
		covered = r.To
		launches, err := memo.Lower(&lower.Input{Module: m, Region: r, Phase: phase, Params: params, Caches: caches, Step: s.Params, Target: p.Target})
		if err != nil {
			return nil, err
		}
		all = append(all, lowered{r, launches})
		done(1)
	}
	if covered != len(m.Nodes) {
		return nil, fmt.Errorf("%s: node %s is in no region; kernels exist for regions only", phase, m.Nodes[covered].Result.Ref())
	}
	if err := b.dispatchAll(m, all, caches); err != nil {
		return nil, err
	}
	for _, v := range m.Results {
		buf := b.values[v]
		if buf == nil {
			return nil, fmt.Errorf("result %s is written by no kernel", v.Ref())
		}
		s.Results = append(s.Results, buf)
	}
	if program.Logits(m) != nil {
		if err := b.results(m); err != nil {
			return nil, err
		}
	}
	s.order()
	s.place()
	return s, nil
}

// builder collects dispatches and their buffers.
type builder struct {
	plan    *Plan
	step    *Step
	params  storage.Parameters
	names   *namer
	values  map[*ir.Value]*Buffer
	scratch map[*program.Scratch]*Buffer
	areas   map[string]*Buffer // by state
	written map[*Buffer]bool
}

// lowered are a region's launches.
type lowered struct {
	region   *ir.Region
	launches []program.Launch
}

// dispatchAll adds the dispatches of all regions, and of the copies of rings around them.
func (b *builder) dispatchAll(m *ir.Module, all []lowered, caches map[string]*program.Cache) error {
	copies, at := b.ringCopies(all), 0
	for _, x := range all {
		for _, l := range x.launches {
			if err := b.copyRings(m, program.RingsIn, copies.before[at], caches); err != nil {
				return err
			}
			if err := b.dispatch(l); err != nil {
				return fmt.Errorf("region @%s: %w", x.region.Name, err)
			}
			if err := b.copyRings(m, program.RingsOut, copies.after[at], caches); err != nil {
				return err
			}
			at++
		}
		if err := b.checkYields(x.region); err != nil {
			return err
		}
	}
	return nil
}

// results adds the lists of dispatches that make something smaller of the logits: the tokens
// that are picked, and how probable tokens are.
func (b *builder) results(m *ir.Module) error {
	own := func() *lower.Input {
		return &lower.Input{Module: m, Phase: b.step.Phase, Step: b.step.Params, Target: b.plan.Target}
	}
	launches, out, err := lower.LowerSample(own())
	if err == nil {
		b.step.Tokens, err = b.result(launches, out)
	}
	if err != nil {
		return fmt.Errorf("sampling: %w", err)
	}
	launches, out, err = lower.LowerScore(own())
	if err == nil {
		b.step.Scores, err = b.result(launches, out)
	}
	if err != nil {
		return fmt.Errorf("scoring: %w", err)
	}
	return nil
}

// result adds dispatches that come behind those of all regions, and returns what the
// last of them writes.
func (b *builder) result(launches []program.Launch, out *program.Scratch) (*Buffer, error) {
	for _, l := range launches {
		if err := b.dispatch(l); err != nil {
			return nil, err
		}
	}
	return b.scratchBuffer(launches[0].Region, out), nil
}

func (b *builder) dispatch(l program.Launch) error {
	if len(l.Args) != len(l.Kernel.Params) {
		return fmt.Errorf("kernel %s takes %d parameters, the launch binds %d", l.Kernel.Name, len(l.Kernel.Params), len(l.Args))
	}
	d := &Dispatch{Kernel: b.names.add(l.Kernel, b.extents(l)), Region: l.Region, Role: l.Role, Grid: l.Grid}
	for i, a := range l.Args {
		param := d.Kernel.Params[i]
		if a.Param != l.Kernel.Params[i].Name {
			return fmt.Errorf("kernel %s: parameter %d is %s, the launch binds %s", l.Kernel.Name, i, l.Kernel.Params[i].Name, a.Param)
		}
		arg, err := b.arg(l.Region, a, param)
		if err != nil {
			return fmt.Errorf("kernel %s: parameter %s: %w", l.Kernel.Name, param.Name, err)
		}
		d.Args = append(d.Args, arg)
	}
	b.step.Dispatches = append(b.step.Dispatches, d)
	return nil
}

// extents says how long the leading dimensions are that a launch's arguments have: the
// numbers of experts, of which a kernel's program may not speak, but its header does.
func (b *builder) extents(l program.Launch) string {
	var text strings.Builder
	for _, a := range l.Args {
		switch {
		case a.Weight != nil && b.params[a.Weight.Param] != nil:
			fmt.Fprintf(&text, " %d", b.params[a.Weight.Param].Lead)
		case a.Scratch != nil:
			fmt.Fprintf(&text, " %s", a.Scratch.Bytes)
		}
	}
	return text.String()
}

func (b *builder) arg(region string, a program.Arg, param *kernel.Param) (Arg, error) {
	out := Arg{Param: param, Weight: a.Weight, BytesAccessed: ir.Const(4), AtMost: a.AtMost}
	switch {
	case a.Value != nil:
		out.Buffer = b.value(a.Value)
		out.BytesAccessed = out.Buffer.Bytes
	case a.Scratch != nil:
		out.Buffer = b.scratchBuffer(region, a.Scratch)
		out.BytesAccessed = out.Buffer.Bytes
	case a.Weight != nil:
		bytes, err := weightBytes(b.params, a.Weight)
		if err != nil {
			return out, err
		}
		out.BytesAccessed = ir.Const(bytes)
	case a.State != "", a.Kept != "":
		if err := b.state(&out, a); err != nil {
			return out, err
		}
	case a.Shift != "":
		p, err := b.params.Get(a.Shift)
		if err != nil {
			return out, err
		}
		bits := int32(8 * (p.Skew(0, encoding.Weight) % 4))
		out.Scalar = &bits
	default:
		return out, fmt.Errorf("bound to nothing")
	}
	if a.BytesAccessed != nil {
		out.BytesAccessed = *a.BytesAccessed
	}
	if out.Buffer != nil && param.Access != kernel.Read {
		if b.written == nil {
			b.written = map[*Buffer]bool{}
		}
		b.written[out.Buffer] = true
	} else if out.Buffer != nil && !b.written[out.Buffer] && !out.Buffer.Held {
		return out, fmt.Errorf("reads %s, which no earlier launch writes", out.Buffer.Name)
	}
	return out, nil
}

// state binds the memory of a state.
func (b *builder) state(out *Arg, a program.Arg) error {
	name := cmp.Or(a.State, a.Kept)
	i := slices.IndexFunc(b.plan.Caches, func(c *Cache) bool { return c.State.Name == name })
	if i < 0 {
		return fmt.Errorf("no state @%s", name)
	}
	if a.BytesAccessed == nil {
		return fmt.Errorf("the launch does not say how many bytes of state @%s it needs", name)
	}
	if c := b.plan.Caches[i]; a.State != "" && c.Ring && b.step.Phase == program.Prefill {
		out.Buffer = b.area(c)
	} else {
		out.Cache = c
	}
	return nil
}

func (b *builder) value(v *ir.Value) *Buffer {
	if buf := b.values[v]; buf != nil {
		return buf
	}
	bytes := ir.Const(4)
	for _, d := range v.Type.Shape {
		bytes = bytes.Mul(d)
	}
	buf := &Buffer{Name: v.Ref(), Bytes: bytes}
	b.values[v] = buf
	b.step.Buffers = append(b.step.Buffers, buf)
	return buf
}

func (b *builder) scratchBuffer(region string, s *program.Scratch) *Buffer {
	if buf := b.scratch[s]; buf != nil {
		return buf
	}
	buf := &Buffer{Name: region + "/" + s.Name, Bytes: s.Bytes, Scratch: true, Held: s.Held}
	if s.Held {
		buf.Name = s.Name
	}
	b.scratch[s] = buf
	b.step.Buffers = append(b.step.Buffers, buf)
	return buf
}

// checkYields sees to it that a region's kernels write what it yields.
func (b *builder) checkYields(r *ir.Region) error {
	for _, v := range r.Yields {
		if !v.Type.State && !b.written[b.values[v]] {
			return fmt.Errorf("region @%s (%s, %s): no kernel writes its result %s", r.Name, r.Kind, b.step.Phase, v.Ref())
		}
	}
	return nil
}

// weightBytes is the size of what a weight argument points at.
func weightBytes(params storage.Parameters, w *program.WeightArg) (int64, error) {
	p, err := params.Get(w.Param)
	if err != nil {
		return 0, err
	}
	if w.Table {
		return int64(8 * len(p.Pieces)), nil
	}
	if p.Encoding == nil {
		return p.Bytes(), nil
	}
	planes, err := p.Encoding.Planes(p.Rows, p.Cols)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(planes, func(pl encoding.Plane) bool { return pl.Role == w.Role })
	if i < 0 {
		return 0, fmt.Errorf("parameter @%s has no %s", w.Param, w.Role)
	}
	return int64(planes[i].Bytes()), nil
}

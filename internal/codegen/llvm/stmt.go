package llvm

import (
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// mask says which lanes are at work: a vector of conditions; lanes is set where they
// are constants. At least one lane is at work.
type mask struct {
	value value.Value
	lanes []bool
}

// changes tells whether the lanes at work are known only when running.
func (m *mask) changes() bool { return m != nil && m.lanes == nil }

// variable is a Var: memory that LLVM turns into registers.
type variable struct {
	typ  kernel.Type
	at   []*ir.InstAlloca // several if it is element by element
	one  bool             // all lanes have one value
	mask *mask
}

func (f *function) run(body []kernel.Stmt) {
	for n := 0; n < len(body); n++ {
		if f.err != nil {
			return
		}
		if stores := f.storeSideBySide(body[n:]); stores > 0 {
			n += stores - 1
			continue
		}
		if sums := f.sumTogether(body[n:]); sums > 0 {
			n += sums - 1
			continue
		}
		switch s := body[n].(type) {
		case *kernel.Comment, *kernel.Barrier: // one SIMD group has nobody to wait for
		case *kernel.Let:
			f.locals[s.Name] = f.eval(s.Value)
		case *kernel.Var:
			f.declare(s.Name, f.eval(s.Init))
		case *kernel.Set:
			f.set(f.vars[s.Name], f.eval(s.Value))
		case *kernel.Store:
			f.store(s)
		case *kernel.Prefetch:
			f.prefetch(s)
		case *kernel.If:
			f.branch(s)
		case *kernel.For:
			if !f.callRecurring(s) {
				f.loop(s)
			}
		default:
			f.fragmentStmt(s)
		}
	}
}

// local is a name's value.
func (f *function) local(e *kernel.Expr) operand {
	v := f.vars[e.Name]
	if v == nil {
		return f.locals[e.Name]
	}
	if v.one {
		return scalarOperand(v.typ, f.block.NewLoad(oneLane(v.typ), v.at[0]))
	}
	if len(v.at) == 1 {
		return vectorOperand(v.typ, f.block.NewLoad(f.allLanes(v.typ), v.at[0]))
	}
	elements := make([]value.Value, len(v.at))
	for n, at := range v.at {
		elements[n] = f.block.NewLoad(at.ElemType, at)
	}
	return elementsOperand(v.typ, elements)
}

func (f *function) declare(name string, init operand) {
	v := &variable{typ: init.typ, one: f.uniform[name], mask: f.mask}
	switch {
	case v.one:
		v.at = []*ir.InstAlloca{f.entry.NewAlloca(oneLane(v.typ))}
	case v.typ.Lanes > 1 && f.forms.apart(name):
		for range v.typ.Lanes {
			v.at = append(v.at, f.entry.NewAlloca(f.allLanes(elementOf(v.typ))))
		}
	default:
		v.at = []*ir.InstAlloca{f.entry.NewAlloca(f.allLanes(v.typ))}
	}
	f.vars[name] = v
	f.set(v, init)
}

// set assigns for the lanes at work. Lanes that were not at work when the
// variable was declared have nothing to keep.
func (f *function) set(v *variable, x operand) {
	if v.one {
		f.block.NewStore(f.asScalar(x), v.at[0])
		return
	}
	var parts []value.Value
	elements := 1 // of a lane in each part
	if len(v.at) > 1 {
		parts = slices.Clone(f.asElements(x, len(v.at)))
	} else {
		parts, elements = []value.Value{f.asVector(x)}, v.typ.Lanes
	}
	for n, at := range v.at {
		if f.mask != v.mask {
			parts[n] = f.block.NewSelect(f.forElements(f.mask.value, elements), parts[n], f.block.NewLoad(at.ElemType, at))
		}
		f.block.NewStore(parts[n], at)
	}
}

// under runs a block for the lanes of a mask.
func (f *function) under(m *mask, body func()) {
	outer := f.mask
	f.mask = m
	f.scoped(body)
	f.mask = outer
}

// and restricts the lanes at work to those for which a condition holds, or does not;
// nil if no lane is left.
func (f *function) and(cond operand, holds bool) *mask {
	if cond.lanes != nil && (f.mask == nil || f.mask.lanes != nil) {
		lanes := make([]bool, f.width)
		for l := range lanes {
			lanes[l] = cond.lanes[l] == holds && (f.mask == nil || f.mask.lanes[l])
		}
		if !slices.Contains(lanes, true) {
			return nil
		}
		return &mask{f.knownLanes(lanes).vector, lanes}
	}
	v := f.asVector(cond)
	if !holds {
		v = f.block.NewXor(v, allOnes(v.Type()))
	}
	if f.mask != nil {
		v = f.block.NewAnd(f.mask.value, v)
	}
	return &mask{value: v}
}

// branch runs each side for the lanes that take it, and not at all where none does.
func (f *function) branch(s *kernel.If) {
	cond := f.eval(s.Cond)
	if c, ok := cond.scalar.(*constant.Int); ok {
		if c.X.Sign() != 0 {
			f.run(s.Then)
		} else {
			f.run(s.Else)
		}
		return
	}
	if cond.agreed() {
		f.fork(f.asScalar(cond), func() { f.run(s.Then) }, func() { f.run(s.Else) }, len(s.Else) > 0)
		return
	}
	then := f.and(cond, true)
	if len(s.Else) == 0 {
		f.side(then, s.Then)
		return
	}
	otherwise := f.and(cond, false) // of the lanes at work before either side runs
	f.side(then, s.Then)
	f.side(otherwise, s.Else)
}

func (f *function) side(m *mask, body []kernel.Stmt) {
	switch {
	case m == nil || len(body) == 0:
	case m.changes():
		f.fork(f.anyLane(m.value), func() { f.under(m, func() { f.run(body) }) }, nil, false)
	default:
		f.under(m, func() { f.run(body) })
	}
}

// fork writes a real branch.
func (f *function) fork(cond value.Value, then, otherwise func(), both bool) {
	yes, end := f.newBlock("then"), f.newBlock("end")
	no := end
	if both {
		no = f.newBlock("else")
	}
	f.block.NewCondBr(cond, yes, no)
	f.block = yes
	f.scoped(then)
	f.block.NewBr(end)
	if both {
		f.block = no
		f.scoped(otherwise)
		f.block.NewBr(end)
	}
	f.block = end
}

// loop writes a counting loop. Bounds and step are computed once.
func (f *function) loop(s *kernel.For) {
	lo, hi, step := f.eval(s.Lo), f.eval(s.Hi), f.eval(s.Step)
	by, constant := step.index.constant()
	switch {
	case lo.agreed() && hi.agreed() && step.agreed():
		f.count(s, lo.index, hi, step, nil)
	case lo.index != nil && hi.agreed() && constant && spread(lo.index.offsets) < by:
		f.strided(s, lo.index, hi, by)
	default:
		f.countMasked(s, lo, hi, step)
	}
}

func spread(offsets []int64) int64 { return slices.Max(offsets) - slices.Min(offsets) }

// count runs the body while the counter is below hi; lanes count from lo with its
// offsets. slack, if not nil, is how far below hi the counter must stay.
// It returns where the counter ends.
func (f *function) count(s *kernel.For, lo *index, hi, step operand, slack *int64) value.Value {
	t := kernel.Of(kernel.I32)
	end, by := f.asScalar(hi), f.asScalar(step)
	if slack != nil {
		end = f.plus(t, end, -*slack)
	}
	start := f.orZero(t, lo.base)
	multiple := lo.multiple
	if n, ok := step.index.constant(); ok {
		multiple = gcd(multiple, n)
	} else {
		multiple = 1
	}
	from := f.block
	head, body, done := f.newBlock("for"), f.newBlock("body"), f.newBlock("done")
	f.block.NewBr(head)
	i := head.NewPhi(ir.NewIncoming(start, from))
	first := value.Value(i)
	if slack == nil {
		f.block = head
		first = f.headPlus(head, i, lo.offsets[0])
	}
	head.NewCondBr(head.NewICmp(enum.IPredSLT, first, end), body, done)
	f.block = body
	f.scoped(func() {
		f.locals[s.Name] = indexOf(t, i, multiple, lo.offsets)
		f.run(s.Body)
		next := f.block.NewAdd(i, by)
		i.Incs = append(i.Incs, ir.NewIncoming(next, f.block))
	})
	f.block.NewBr(head)
	f.block = done
	return i
}

func (f *function) headPlus(head *ir.Block, i value.Value, n int64) value.Value {
	if n == 0 {
		return i
	}
	return head.NewAdd(i, i32Const(n))
}

// strided writes a loop whose lanes count side by side, in steps that keep them in order:
// passes with all lanes at work, then at most one with some of them.
func (f *function) strided(s *kernel.For, lo *index, hi operand, by int64) {
	t := kernel.Of(kernel.I32)
	last := slices.Max(lo.offsets)
	i := f.count(s, lo, hi, constantIndex(t, by), &last)
	least := slices.Min(lo.offsets)
	if hi.index.multiple%by == 0 && lo.multiple%by == 0 && hi.index.offsets[0]%by == 0 && least >= 0 && last < by {
		return // the last pass is a whole one
	}
	rest := f.block.NewICmp(enum.IPredSLT, f.plus(t, i, least), f.asScalar(hi))
	f.fork(rest, func() {
		f.locals[s.Name] = indexOf(t, i, gcd(lo.multiple, by), lo.offsets)
		cond := f.block.NewICmp(enum.IPredSLT, f.asVector(f.locals[s.Name]), f.asVector(hi))
		f.under(f.and(vectorOperand(kernel.Of(kernel.Bool), cond), true), func() { f.run(s.Body) })
	}, nil, false)
}

// countMasked writes any loop: a lane leaves it when its counter reaches its end, and the
// loop ends when all have left.
func (f *function) countMasked(s *kernel.For, lo, hi, step operand) {
	t := types.NewVector(uint64(f.width), types.I32)
	counter := f.entry.NewAlloca(t)
	f.block.NewStore(f.asVector(lo), counter)
	end, by := f.asVector(hi), f.asVector(step)
	head, body, done := f.newBlock("for"), f.newBlock("body"), f.newBlock("done")
	f.block.NewBr(head)
	f.block = head
	var m *mask
	f.scoped(func() {
		m = f.and(vectorOperand(kernel.Of(kernel.Bool), head.NewICmp(enum.IPredSLT, head.NewLoad(t, counter), end)), true)
		f.block.NewCondBr(f.anyLane(m.value), body, done)
	})
	f.block = body
	f.under(m, func() {
		f.locals[s.Name] = vectorOperand(kernel.Of(kernel.I32), f.block.NewLoad(t, counter))
		f.run(s.Body)
		f.block.NewStore(f.block.NewAdd(f.block.NewLoad(t, counter), by), counter)
	})
	f.block.NewBr(head)
	f.block = done
}

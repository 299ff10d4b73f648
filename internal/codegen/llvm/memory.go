package llvm

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// align is the alignment of every address of the type: weights lie at any multiple of
// their scalars.
func alignOf(t kernel.Type) ir.Align { return ir.Align(t.Scalar.Bytes()) }

// address points to element i (an LLVM integer) plus n of a place, of kernel
// type t, as a pointer to as.
func (f *function) address(p place, t kernel.Type, i value.Value, n int64, as types.Type) value.Value {
	base := f.pointer(p)
	elem := scalarType(t.Scalar)
	at := base
	if i != nil {
		at = f.once(expression{op: "at", x: base, y: i, k: int64(t.Lanes)}, func() value.Value {
			return f.block.NewGetElementPtr(elem, base, f.wide(i, int64(t.Lanes)))
		})
	}
	if n != 0 {
		at = f.block.NewGetElementPtr(elem, at, constant.NewInt(types.I64, n*int64(t.Lanes)))
	}
	if as.Equal(elem) {
		return at
	}
	return f.block.NewBitCast(at, types.NewPointer(as))
}

// wide is an index times n as an i64.
func (f *function) wide(i value.Value, n int64) value.Value {
	if !i.Type().Equal(types.I64) {
		narrow := i
		i = f.once(expression{op: "widen", x: narrow, n: "i64"}, func() value.Value { return f.block.NewSExt(narrow, types.I64) })
	}
	if n == 1 {
		return i
	}
	return f.block.NewMul(i, constant.NewInt(types.I64, n))
}

// contiguous tells whether lane l's offset is the first plus l.
func contiguous(offsets []int64) bool {
	for l, n := range offsets {
		if n != offsets[0]+int64(l) {
			return false
		}
	}
	return len(offsets) > 1
}

// load reads an element for every lane at work. Other lanes get any value, and touch no
// memory of their own.
func (f *function) load(e *kernel.Expr, p place, i operand) operand {
	t := e.Type
	if i.agreed() {
		return scalarOperand(t, f.loadOne(t, p, f.asIndex(i), oneLane(t)))
	}
	if i.index == nil || f.mask.changes() && !(contiguous(i.index.offsets) && t.Scalar.Bytes() >= 4) {
		return vectorOperand(t, f.loadScattered(t, p, f.asVector(i)))
	}
	if contiguous(i.index.offsets) {
		if f.mask == nil && f.grouped(t) && f.forms.apart(e) {
			return elementsOperand(t, f.loadApart(t, p, i.index))
		}
		at := f.address(p, t, i.index.base, i.index.offsets[0], f.allLanes(t))
		if f.mask.changes() {
			return vectorOperand(t, f.loadMasked(t, at))
		}
		if f.mask == nil {
			return vectorOperand(t, f.loadAligned(f.allLanes(t), at, t))
		}
	}
	return vectorOperand(t, f.loadDistinct(t, t, p, i.index))
}

// asIndex is the index form of an integer on which lanes agree.
func (f *function) asIndex(i operand) *index {
	if i.index != nil {
		return i.index
	}
	v := f.asScalar(i)
	if i.typ.Scalar == kernel.U32 {
		v = f.block.NewZExt(v, types.I64)
	}
	return &index{base: v, multiple: 1, offsets: []int64{0}}
}

func (f *function) loadOne(t kernel.Type, p place, i *index, as types.Type) value.Value {
	return f.loadAligned(as, f.address(p, t, i.base, i.offsets[0], as), t)
}

func (f *function) loadAligned(as types.Type, at value.Value, t kernel.Type) value.Value {
	l := f.block.NewLoad(as, at)
	l.Align = alignOf(t)
	return l
}

// loadMasked reads neighbours for the lanes at work.
func (f *function) loadMasked(t kernel.Type, at value.Value) value.Value {
	all := f.allLanes(t)
	cond := f.forElements(f.mask.value, t.Lanes)
	fn := f.intrinsic("llvm.masked.load."+mangled(all)+"."+mangled(at.Type()), all, at.Type(), types.I32, cond.Type(), all)
	return f.block.NewCall(fn, at, i32Const(int64(alignOf(t))), cond, constant.NewUndef(all))
}

// loadDistinct reads a t from each of the offsets that lanes at work have once;
// they count elements of the place.
func (f *function) loadDistinct(t, elem kernel.Type, p place, i *index) value.Value {
	have := map[int64]value.Value{}
	parts := make([]value.Value, f.width)
	var first value.Value
	for l, n := range i.offsets {
		if f.mask != nil && !f.mask.lanes[l] {
			continue
		}
		if have[n] == nil {
			have[n] = f.loadAligned(oneLane(t), f.address(p, elem, i.base, n, oneLane(t)), elem)
		}
		parts[l] = have[n]
		if first == nil {
			first = parts[l]
		}
	}
	for l := range parts {
		if parts[l] == nil {
			parts[l] = first
		}
	}
	return f.join(t, parts)
}

// loadScattered reads from an index for each lane. Lanes not at work read what
// the first at work does.
func (f *function) loadScattered(t kernel.Type, p place, i value.Value) value.Value {
	if f.mask != nil {
		first := value.Value(nil)
		if f.mask.lanes != nil {
			first = i32Const(int64(slices.Index(f.mask.lanes, true)))
		} else {
			first = f.firstLane(f.mask.value)
		}
		safe := f.block.NewInsertElement(constant.NewUndef(i.Type()), f.block.NewExtractElement(i, first), i32Const(0))
		i = f.block.NewSelect(f.mask.value, i, f.shuffle(safe, make([]int, f.width)))
	}
	parts := make([]value.Value, f.width)
	for l := range parts {
		parts[l] = f.loadOne(t, p, &index{base: f.block.NewExtractElement(i, i32Const(int64(l))), offsets: []int64{0}}, oneLane(t))
	}
	return f.join(t, parts)
}

// join makes one vector of the lanes' values.
func (f *function) join(t kernel.Type, parts []value.Value) value.Value {
	if t.Lanes > 1 {
		return f.concat(parts, t.Lanes)
	}
	// Few distinct values in runs are shuffled from one vector: inserting each
	// lane would cost an instruction a lane.
	var distinct []value.Value
	from := make([]int, len(parts))
	for l, v := range parts {
		n := slices.Index(distinct, v)
		if n < 0 {
			n = len(distinct)
			distinct = append(distinct, v)
		}
		from[l] = n
	}
	v := value.Value(constant.NewUndef(f.allLanes(t)))
	for n, d := range distinct {
		v = f.block.NewInsertElement(v, d, i32Const(int64(n)))
	}
	if len(distinct) == len(parts) {
		return v
	}
	return f.shuffle(v, from)
}

// loadSideBySide loads a vector whose elements are loads of neighbours, or the
// same of each of these: a bfloat16's bits moved up, say. The loads become one.
func (f *function) loadSideBySide(e *kernel.Expr) (operand, bool) {
	if f.mask.changes() {
		return operand{}, false
	}
	whole := f.together(e.Args)
	if whole == nil {
		return operand{}, false
	}
	return f.eval(whole), true
}

// together joins expressions that are computed alike from neighbours in memory into one
// expression of vectors; nil for others.
func (f *function) together(es []*kernel.Expr) *kernel.Expr {
	first := es[0]
	t := kernel.Vec(first.Type.Scalar, len(es))
	inner := make([]*kernel.Expr, len(es))
	for n, e := range es {
		if e.Op != first.Op || e.Type != first.Type || first.Type.Lanes != 1 {
			return nil
		}
		if n > 0 && len(e.Args) == 2 && !sameConstant(e.Args[1], first.Args[1]) {
			return nil
		}
		if len(e.Args) > 0 {
			inner[n] = e.Args[0]
		}
	}
	switch first.Op {
	case kernel.OpLoad:
		return f.neighbours(es, t)
	case kernel.OpConvert, kernel.OpBitcast:
		if x := f.together(inner); x != nil {
			return &kernel.Expr{Op: first.Op, Type: t, Args: []*kernel.Expr{x}}
		}
	case kernel.OpShl, kernel.OpShr, kernel.OpAnd:
		if x := f.together(inner); x != nil {
			return &kernel.Expr{Op: first.Op, Type: t, Args: []*kernel.Expr{x, splat(first.Args[1], len(es))}}
		}
	}
	return nil
}

func sameConstant(a, b *kernel.Expr) bool {
	return a.Op == kernel.OpConst && b.Op == kernel.OpConst && a.Int == b.Int && a.Type == b.Type
}

func splat(e *kernel.Expr, n int) *kernel.Expr {
	return kernel.Vector(slices.Repeat([]*kernel.Expr{e}, n)...)
}

// working is the lanes from the first to the last at work.
func (f *function) working() (from, end int) {
	if f.mask == nil {
		return 0, f.width
	}
	for from = 0; !f.mask.lanes[from]; from++ {
	}
	for end = f.width; !f.mask.lanes[end-1]; end-- {
	}
	return from, end
}

// neighbours loads neighbours at once, and names them.
func (f *function) neighbours(loads []*kernel.Expr, t kernel.Type) *kernel.Expr {
	var start *index
	for n, e := range loads {
		if e.Name != loads[0].Name || e.Space != loads[0].Space {
			return nil
		}
		i := f.eval(e.Args[0]).index
		if i == nil {
			return nil
		}
		if n == 0 {
			start = i
		}
		shifted := each(start.offsets, func(x int64) int64 { return x + int64(n) })
		if i.base != start.base || !slices.Equal(i.offsets, shifted) {
			return nil
		}
	}
	p := place{loads[0].Space, loads[0].Name}
	elem := f.elemOf(p)
	name := fmt.Sprintf("neighbours %d", len(f.locals)) // no name in a kernel
	if len(start.offsets) == 1 {
		f.locals[name] = operand{typ: t, scalar: f.loadOne(elem, p, start, oneLane(t))}
		return &kernel.Expr{Op: kernel.OpLocal, Type: t, Name: name}
	}
	from, end := f.working()
	for l := from; l < end; l++ {
		if start.offsets[l] != start.offsets[from]+int64((l-from)*len(loads)) || f.mask != nil && !f.mask.lanes[l] {
			f.locals[name] = vectorOperand(t, f.loadDistinct(t, elem, p, start))
			return &kernel.Expr{Op: kernel.OpLocal, Type: t, Name: name}
		}
	}
	as := types.NewVector(uint64((end-from)*len(loads)), scalarType(elem.Scalar))
	v := f.loadAligned(as, f.address(p, elem, start.base, start.offsets[from], as), elem)
	if end-from < f.width {
		places := make([]int, f.width*len(loads)) // whatever is in lanes that are not at work
		for i := range (end - from) * len(loads) {
			places[from*len(loads)+i] = i
		}
		v = f.shuffle(v, places)
	}
	f.locals[name] = vectorOperand(t, v)
	return &kernel.Expr{Op: kernel.OpLocal, Type: t, Name: name}
}

// The last three arguments of llvm.prefetch (LLVM Language Reference): to read,
// into all caches, data and not instructions.
const prefetchRead, prefetchKeep, prefetchData = 0, 3, 1

// prefetch hints at the first lane's element. The address is the index's alone,
// wherever that leads: hints do not fault.
func (f *function) prefetch(s *kernel.Prefetch) {
	p := place{kernel.Device, s.Name}
	i := f.asIndex(f.eval(s.Index))
	at := f.address(p, f.elemOf(p), i.base, i.offsets[0], types.I8)
	fn := f.intrinsic("llvm.prefetch."+mangled(at.Type()), types.Void, at.Type(), types.I32, types.I32, types.I32)
	f.block.NewCall(fn, at, i32Const(prefetchRead), i32Const(prefetchKeep), i32Const(prefetchData))
}

// store writes the value of every lane at work.
func (f *function) store(s *kernel.Store) {
	p := placeOf(s)
	t := f.elemOf(p)
	i, v := f.eval(s.Index), f.eval(s.Value)
	if f.err != nil {
		return
	}
	switch {
	case i.agreed():
		f.storeOne(t, p, f.asIndex(i), f.lastAtWork(v))
	case i.index != nil && contiguous(i.index.offsets) && f.mask == nil && v.elements != nil && f.grouped(t):
		f.storeRegisters(t, p, i.index, f.registers(v.elements))
	case i.index != nil && contiguous(i.index.offsets) && (f.mask == nil || f.mask.changes() && t.Scalar.Bytes() >= 4):
		f.storeNeighbours(t, p, i.index, f.asVector(v))
	case !f.mask.changes():
		f.storeEach(t, p, i, f.asVector(v))
	default:
		f.storeScattered(t, p, f.asVector(i), f.asVector(v))
	}
}

// lastAtWork is the value of one of the lanes at work. Where several write
// different values to one place, any may win.
func (f *function) lastAtWork(v operand) value.Value {
	if v.agreed() || f.mask == nil {
		return f.asScalar(v)
	}
	var lane value.Value
	if f.mask.lanes != nil {
		lane = i32Const(int64(slices.Index(f.mask.lanes, true)))
	} else {
		lane = f.firstLane(f.mask.value)
	}
	if v.typ.Lanes == 1 {
		return f.block.NewExtractElement(f.asVector(v), lane)
	}
	out := value.Value(constant.NewUndef(oneLane(v.typ)))
	for n := range v.typ.Lanes {
		at := f.block.NewAdd(f.block.NewMul(lane, i32Const(int64(v.typ.Lanes))), i32Const(int64(n)))
		out = f.block.NewInsertElement(out, f.block.NewExtractElement(f.asVector(v), at), i32Const(int64(n)))
	}
	return out
}

func (f *function) storeOne(t kernel.Type, p place, i *index, v value.Value) {
	st := f.block.NewStore(v, f.address(p, t, i.base, i.offsets[0], oneLane(t)))
	st.Align = alignOf(t)
}

// registerType is a register of a type's scalars.
func (f *function) registerType(t kernel.Type) types.Type {
	return types.NewVector(uint64(f.register), scalarType(t.Scalar))
}

func (f *function) storeRegisters(t kernel.Type, p place, i *index, registers []value.Value) {
	for n, v := range registers {
		at := i.offsets[0] + int64(n*f.register/t.Lanes)
		f.block.NewStore(v, f.address(p, t, i.base, at, v.Type())).Align = alignOf(t)
	}
}

func (f *function) storeNeighbours(t kernel.Type, p place, i *index, v value.Value) {
	all := f.allLanes(t)
	at := f.address(p, t, i.base, i.offsets[0], all)
	if f.mask == nil {
		f.block.NewStore(v, at).Align = alignOf(t)
		return
	}
	cond := f.forElements(f.mask.value, t.Lanes)
	fn := f.intrinsic("llvm.masked.store."+mangled(all)+"."+mangled(at.Type()), types.Void, all, at.Type(), types.I32, cond.Type())
	f.block.NewCall(fn, v, at, i32Const(int64(alignOf(t))), cond)
}

// element is lane l's part of a vector.
func (f *function) element(t kernel.Type, v value.Value, l int) value.Value {
	if t.Lanes == 1 {
		return f.block.NewExtractElement(v, i32Const(int64(l)))
	}
	return f.shuffle(v, counting(l*t.Lanes, t.Lanes))
}

// storeSideBySide joins the next stores if they store neighbours: four scalars of every
// lane, or two, side by side, with lanes side by side. It returns how many statements it
// wrote.
func (f *function) storeSideBySide(body []kernel.Stmt) int {
	if f.mask != nil {
		return 0
	}
	if stores, start := f.neighbouring(body, across); start != nil && f.grouped(kernel.Vec(f.elemOf(placeOf(stores[0])).Scalar, across)) {
		f.storeRegisters(f.elemOf(placeOf(stores[0])), placeOf(stores[0]), start, f.registers(f.valuesOf(stores)))
		return across
	}
	if stores, start := f.neighbouring(body, 2); start != nil && f.width <= f.register && f.elemOf(placeOf(stores[0])).Scalar.Bytes() == 4 {
		v, byTurns := f.valuesOf(stores), make([]int, 2*f.width)
		for i := range byTurns {
			byTurns[i] = i%2*f.width + i/2
		}
		f.storeRegisters(f.elemOf(placeOf(stores[0])), placeOf(stores[0]), start, []value.Value{f.shuffle2(v[0], v[1], byTurns)})
		return 2
	}
	return 0
}

// neighbouring returns the next n statements and where they begin, if they store scalars of
// every lane side by side; else nil.
func (f *function) neighbouring(body []kernel.Stmt, n int) ([]*kernel.Store, *index) {
	if len(body) < n {
		return nil, nil
	}
	stores := make([]*kernel.Store, n)
	for i := range stores {
		s, ok := body[i].(*kernel.Store)
		if !ok || i > 0 && placeOf(s) != placeOf(stores[0]) || reads(s.Index) || reads(s.Value) {
			return nil, nil
		}
		stores[i] = s
	}
	if f.elemOf(placeOf(stores[0])).Lanes != 1 {
		return nil, nil
	}
	var start *index
	for n, s := range stores {
		i := f.eval(s.Index).index
		if i == nil || len(i.offsets) == 1 {
			return nil, nil
		}
		if n == 0 {
			start = i
		}
		for l, at := range i.offsets {
			if i.base != start.base || at != start.offsets[0]+int64(l*len(stores)+n) {
				return nil, nil
			}
		}
	}
	return stores, start
}

func (f *function) valuesOf(stores []*kernel.Store) []value.Value {
	vs := make([]value.Value, len(stores))
	for n, s := range stores {
		vs[n] = f.asVector(f.eval(s.Value))
	}
	return vs
}

func placeOf(s *kernel.Store) place { return place{s.Space, s.Name} }

// reads tells whether an expression loads anything.
func reads(e *kernel.Expr) bool {
	return e.Op == kernel.OpLoad || slices.ContainsFunc(e.Args, reads)
}

// storeEach writes lane by lane, those known to be at work.
func (f *function) storeEach(t kernel.Type, p place, i operand, v value.Value) {
	for l := range f.width {
		if f.mask != nil && !f.mask.lanes[l] {
			continue
		}
		at := i.index
		if at != nil {
			at = &index{base: at.base, offsets: at.offsets[l : l+1]}
		} else {
			at = &index{base: f.block.NewExtractElement(i.vector, i32Const(int64(l))), offsets: []int64{0}}
		}
		f.storeOne(t, p, at, f.element(t, v, l))
	}
}

// storeScattered writes lane by lane where the lane is at work.
func (f *function) storeScattered(t kernel.Type, p place, i, v value.Value) {
	for l := range f.width {
		cond := f.block.NewExtractElement(f.mask.value, i32Const(int64(l)))
		then, next := f.newBlock("lane"), f.newBlock("next")
		f.block.NewCondBr(cond, then, next)
		f.block = then
		f.scoped(func() {
			at := &index{base: f.block.NewExtractElement(i, i32Const(int64(l))), offsets: []int64{0}}
			f.storeOne(t, p, at, f.element(t, v, l))
		})
		f.block.NewBr(next)
		f.block = next
	}
}

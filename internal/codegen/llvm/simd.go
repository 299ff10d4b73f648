package llvm

import (
	"math/bits"
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// simdOps are the operations over the lanes of a SIMD group. Kernels use them
// only where all lanes are at work.
var simdOps = map[kernel.Op]func(f *function, e *kernel.Expr, args []operand) operand{
	kernel.OpSimdSum:        func(f *function, e *kernel.Expr, args []operand) operand { return f.reduce(e, kernel.OpAdd, args[0]) },
	kernel.OpSimdMax:        func(f *function, e *kernel.Expr, args []operand) operand { return f.reduce(e, kernel.OpMax, args[0]) },
	kernel.OpSimdMin:        func(f *function, e *kernel.Expr, args []operand) operand { return f.reduce(e, kernel.OpMin, args[0]) },
	kernel.OpSimdPrefix:     (*function).prefix,
	kernel.OpSimdShuffle:    (*function).shuffleLanes,
	kernel.OpSimdShuffleXor: (*function).shuffleXor,
}

// reduce folds the upper half of the lanes onto the lower, until one is left.
func (f *function) reduce(e *kernel.Expr, op kernel.Op, x operand) operand {
	if x.elements != nil {
		return f.reduceElements(e, op, x.elements)
	}
	v := f.asVector(x)
	combine := &kernel.Expr{Op: op, Type: e.Type, Args: []*kernel.Expr{e.Args[0], e.Args[0]}}
	for n := f.width / 2; n >= 1; n /= 2 {
		size := n * e.Type.Lanes
		low, high := f.shuffle(v, counting(0, size)), f.shuffle(v, counting(size, size))
		v = emitters[op](f, combine, types.NewVector(uint64(size), scalarType(e.Type.Scalar)), []value.Value{low, high})
	}
	if e.Type.Lanes == 1 {
		v = f.block.NewExtractElement(v, i32Const(0))
	}
	return scalarOperand(e.Type, v)
}

// reduceElements folds the elements of vectors, each over the lanes, two elements
// side by side as soon as halves of registers are folded.
func (f *function) reduceElements(e *kernel.Expr, op kernel.Op, elements []value.Value) operand {
	combine := &kernel.Expr{Op: op, Type: e.Type, Args: []*kernel.Expr{e.Args[0], e.Args[0]}}
	scalar := scalarType(e.Type.Scalar)
	emit := func(n int, low, high value.Value) value.Value {
		return emitters[op](f, combine, types.NewVector(uint64(n), scalar), []value.Value{low, high})
	}
	parts, n := slices.Clone(elements), f.width // each with n lanes of one element or more
	for ; n > f.register; n /= 2 {
		for i, v := range parts {
			parts[i] = emit(n/2, f.shuffle(v, counting(0, n/2)), f.shuffle(v, counting(n/2, n/2)))
		}
	}
	size := n // of a part's vector
	for ; n > 1; n /= 2 {
		if len(parts) > 1 {
			var next []value.Value
			for i := 0; i < len(parts); i += 2 {
				low, high := halves(size, n)
				next = append(next, emit(size, f.shuffle2(parts[i], parts[i+1], low), f.shuffle2(parts[i], parts[i+1], high)))
			}
			parts = next
			continue
		}
		low, high := halves(size, n)
		size /= 2
		parts[0] = emit(size, f.shuffle(parts[0], low[:size]), f.shuffle(parts[0], high[:size]))
	}
	for len(parts) > 1 { // fewer lanes than elements
		parts, size = []value.Value{f.concat(parts, size)}, size*len(parts)
	}
	return scalarOperand(e.Type, parts[0])
}

// sumTogether names the sums over the lanes that the next statements name, and
// says how many: a power of two of f32s is folded as the elements of one vector,
// which takes a third of the instructions and has the same bits.
func (f *function) sumTogether(body []kernel.Stmt) int {
	var lets []*kernel.Let
	for _, s := range body {
		l, ok := s.(*kernel.Let)
		if !ok || l.Value.Op != kernel.OpSimdSum || l.Value.Type != kernel.Of(kernel.F32) || l.Value.Args[0].Op != kernel.OpLocal || len(lets) == f.width {
			break
		}
		lets = append(lets, l)
	}
	if len(lets) < 2 {
		return 0
	}
	lets = lets[:1<<(bits.Len(uint(len(lets)))-1)]
	vs := make([]value.Value, len(lets))
	for n, l := range lets {
		if vs[n] = f.local(l.Value.Args[0]).vector; vs[n] == nil { // lanes agree, or one of these sums
			return 0
		}
	}
	sums := f.reduceElements(lets[0].Value, kernel.OpAdd, vs)
	for n, l := range lets {
		f.locals[l.Name] = scalarOperand(l.Value.Type, f.block.NewExtractElement(sums.scalar, i32Const(int64(n))))
	}
	return len(lets)
}

// halves gives the places of the lower and of the upper half of each run, in two vectors of
// a size that hold runs of n.
func halves(size, n int) (low, high []int) {
	for i := 0; i < 2*size; i += n {
		low, high = append(low, counting(i, n/2)...), append(high, counting(i+n/2, n/2)...)
	}
	return low, high
}

// lanesOfEach applies an operation over lanes to each element of a vector.
func (f *function) lanesOfEach(e *kernel.Expr, args []operand, op func(f *function, e *kernel.Expr, args []operand) operand) operand {
	t := elementOf(e.Type)
	one := &kernel.Expr{Op: e.Op, Type: t, Args: e.Args, Int: e.Int}
	elements, agreed := make([]operand, e.Type.Lanes), true
	for n, v := range args[0].elements {
		elements[n] = op(f, one, append([]operand{vectorOperand(t, v)}, args[1:]...))
		agreed = agreed && elements[n].agreed()
	}
	if agreed {
		return operand{typ: e.Type, scalar: f.gather(oneLane(e.Type), elements, f.asScalar)}
	}
	vs := make([]value.Value, len(elements))
	for n, o := range elements {
		vs[n] = f.asVector(o)
	}
	return elementsOperand(e.Type, vs)
}

// prefix sums up the lanes before each, by shifted additions.
func (f *function) prefix(e *kernel.Expr, args []operand) operand {
	if args[0].elements != nil {
		return f.lanesOfEach(e, args, (*function).prefix)
	}
	zero := constant.NewZeroInitializer(f.allLanes(e.Type))
	shifted := func(v value.Value, by int) value.Value {
		from := make([]int, f.width*e.Type.Lanes)
		for i := range from {
			if from[i] = i - by*e.Type.Lanes; from[i] < 0 {
				from[i] = len(from) // the first of zero
			}
		}
		return f.shuffle2(v, zero, from)
	}
	v := shifted(f.asVector(args[0]), 1)
	add := &kernel.Expr{Op: kernel.OpAdd, Type: e.Type}
	for by := 1; by < f.width; by *= 2 {
		v = emitters[kernel.OpAdd](f, add, f.allLanes(e.Type), []value.Value{v, shifted(v, by)})
	}
	return vectorOperand(e.Type, v)
}

// shuffleLanes gives each lane the value of the lane that it names.
func (f *function) shuffleLanes(e *kernel.Expr, args []operand) operand {
	x, from := args[0], args[1]
	switch {
	case x.agreed():
		return x
	case x.elements != nil:
		return f.lanesOfEach(e, args, (*function).shuffleLanes)
	case from.index != nil && from.index.base == nil:
		return vectorOperand(e.Type, f.pick(f.asVector(x), e.Type.Lanes, func(lane int) int {
			return int(from.index.offsets[lane%len(from.index.offsets)])
		}))
	case from.agreed() && e.Type.Lanes == 1:
		return scalarOperand(e.Type, f.block.NewExtractElement(f.asVector(x), f.asScalar(from)))
	case e.Type.Lanes > 1:
		f.fail("shuffle of %s by lanes known only when running", e.Type)
	}
	v, lanes := f.asVector(x), f.asVector(from)
	out := value.Value(constant.NewUndef(f.allLanes(e.Type)))
	for i := range f.width {
		lane := f.block.NewExtractElement(lanes, i32Const(int64(i)))
		out = f.block.NewInsertElement(out, f.block.NewExtractElement(v, lane), i32Const(int64(i)))
	}
	return vectorOperand(e.Type, out)
}

func (f *function) shuffleXor(e *kernel.Expr, args []operand) operand {
	if args[0].agreed() {
		return args[0]
	}
	if args[0].elements != nil {
		return f.lanesOfEach(e, args, (*function).shuffleXor)
	}
	return vectorOperand(e.Type, f.pick(f.asVector(args[0]), e.Type.Lanes, func(lane int) int { return lane ^ int(e.Int) }))
}

// pick gives each lane the elements of another.
func (f *function) pick(v value.Value, lanes int, of func(lane int) int) value.Value {
	from := make([]int, f.width*lanes)
	for i := range from {
		from[i] = of(i/lanes)*lanes + i%lanes
	}
	return f.shuffle(v, from)
}

// any reports whether one of a vector of conditions holds.
func (f *function) anyLane(cond value.Value) value.Value {
	return f.truth(kernel.Of(kernel.U32), f.maskBits(cond))
}

// maskBits packs the conditions into a number, lane 0 into the lowest bit.
func (f *function) maskBits(cond value.Value) value.Value {
	return f.block.NewBitCast(cond, types.NewInt(uint64(f.width)))
}

// firstLane is the number (i32) of the first lane whose condition holds; one must.
func (f *function) firstLane(cond value.Value) value.Value {
	t := types.NewInt(uint64(f.width))
	count := f.intrinsic("llvm.cttz."+mangled(t), t, t, types.I1)
	n := f.block.NewCall(count, f.maskBits(cond), constant.True)
	if t.BitSize == 32 {
		return n
	}
	return f.block.NewZExt(n, types.I32)
}

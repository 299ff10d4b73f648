package llvm

import (
	"slices"
	"strconv"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// operand is an expression's value for all lanes of the SIMD group. One of
// four forms:
//
//   - index: an integer (i32, i64) that is a scalar plus a constant for each lane;
//   - scalar: one value all lanes agree on;
//   - vector: a value for each lane. A kernel vector of n elements is n*width
//     wide, a lane's elements side by side, as they lie in memory;
//   - elements: a vector of lanes for each element of a kernel vector.
type operand struct {
	typ      kernel.Type
	index    *index
	scalar   value.Value
	vector   value.Value
	elements []value.Value
	lanes    []bool // of a bool that is known for each lane; vector is set too
}

// index is base + offsets[lane]. base is a multiple of multiple; nil is 0,
// which is a multiple of everything (multiple 0). One offset stands for all lanes.
type index struct {
	base     value.Value
	multiple int64
	offsets  []int64
}

// agreed tells whether all lanes have one value.
func (o operand) agreed() bool {
	return o.scalar != nil || o.index != nil && len(o.index.offsets) == 1
}

// isIndex tells which types may have the index form.
func isIndex(t kernel.Type) bool {
	return t.Lanes == 1 && (t.Scalar == kernel.I32 || t.Scalar == kernel.I64)
}

// scalarOperand wraps a value on which lanes agree.
func scalarOperand(t kernel.Type, v value.Value) operand {
	if isIndex(t) {
		return operand{typ: t, index: &index{base: v, multiple: 1, offsets: []int64{0}}}
	}
	return operand{typ: t, scalar: v}
}

func vectorOperand(t kernel.Type, v value.Value) operand { return operand{typ: t, vector: v} }

// elementsOperand holds one vector of lanes for each element; a scalar has one.
func elementsOperand(t kernel.Type, vs []value.Value) operand {
	if t.Lanes == 1 {
		return vectorOperand(t, vs[0])
	}
	return operand{typ: t, elements: vs}
}

// elementOf is the type of a vector's elements.
func elementOf(t kernel.Type) kernel.Type { return kernel.Of(t.Scalar) }

// constantIndex is the same number for all lanes.
func constantIndex(t kernel.Type, n int64) operand {
	return operand{typ: t, index: &index{offsets: []int64{n}}}
}

// oneLane is the LLVM type of one lane's value.
func oneLane(t kernel.Type) types.Type {
	if t.Lanes == 1 {
		return scalarType(t.Scalar)
	}
	return types.NewVector(uint64(t.Lanes), scalarType(t.Scalar))
}

// allLanes is the LLVM type of all lanes' values.
func (f *function) allLanes(t kernel.Type) *types.VectorType {
	return types.NewVector(uint64(t.Lanes*f.width), scalarType(t.Scalar))
}

func intConst(t types.Type, n int64) *constant.Int { return constant.NewInt(t.(*types.IntType), n) }

func i32Const(n int64) *constant.Int { return constant.NewInt(types.I32, n) }

// floatConst is a float constant. LLVM's text wants a float as the double that
// it is exactly; the library would print digits of another number.
func floatConst(t types.Type, v float64) *constant.Float {
	return constant.NewFloat(t.(*types.FloatType), float64(float32(v)))
}

// asScalar gives the value that lanes agree on, or lane 0's where they do not.
func (f *function) asScalar(o operand) value.Value {
	switch {
	case o.scalar != nil:
		return o.scalar
	case o.index != nil:
		return f.plus(o.typ, o.index.base, o.index.offsets[0])
	case o.elements != nil:
		v := value.Value(constant.NewUndef(oneLane(o.typ)))
		for n, x := range o.elements {
			v = f.block.NewInsertElement(v, f.block.NewExtractElement(x, i32Const(0)), i32Const(int64(n)))
		}
		return v
	}
	if o.typ.Lanes == 1 {
		return f.block.NewExtractElement(o.vector, i32Const(0))
	}
	return f.shuffle(o.vector, counting(0, o.typ.Lanes))
}

// asVector is the value of every lane.
func (f *function) asVector(o operand) value.Value {
	switch {
	case o.vector != nil:
		return o.vector
	case o.elements != nil:
		return f.sideBySide(o.elements, o.typ)
	case o.scalar != nil:
		return f.spread(o.scalar, o.typ)
	case len(o.index.offsets) == 1:
		return f.spread(f.asScalar(o), o.typ)
	}
	offsets := f.constantVector(o.typ.Scalar, o.index.offsets)
	if o.index.base == nil {
		return offsets
	}
	base := f.spread(o.index.base, o.typ)
	return f.once(expression{op: "addv", x: base, n: fold(o.index.offsets)}, func() value.Value { return f.block.NewAdd(base, offsets) })
}

// asElements gives each element of a kernel vector as a vector of lanes. A scalar has
// one element.
func (f *function) asElements(o operand, n int) []value.Value {
	if o.typ.Lanes == 1 {
		return slices.Repeat([]value.Value{f.asVector(o)}, n)
	}
	switch {
	case o.elements != nil:
		return o.elements
	case o.vector != nil:
		return f.apart(o.vector, o.typ)
	}
	elements := make([]value.Value, n)
	for i := range elements {
		elements[i] = f.spread(f.elementOfAll(o.scalar, i), elementOf(o.typ))
	}
	return elements
}

// elementOfAll is an element of a vector on which lanes agree.
func (f *function) elementOfAll(v value.Value, n int) value.Value {
	if x, ok := f.repeats[v]; ok {
		return x
	}
	return f.once(expression{op: "element", x: v, k: int64(n)}, func() value.Value { return f.block.NewExtractElement(v, i32Const(int64(n))) })
}

// fold makes a key of offsets, which are few.
func fold(offsets []int64) string {
	b := make([]byte, 0, 8*len(offsets))
	for _, n := range offsets {
		for range 8 {
			b = append(b, byte(n))
			n >>= 8
		}
	}
	return string(b)
}

// constantVector is a vector of integer constants.
func (f *function) constantVector(s kernel.Scalar, ns []int64) value.Value {
	t := scalarType(s)
	return vectorOf(t, len(ns), func(i int) constant.Constant { return intConst(t, ns[i]) })
}

// spread gives every lane a scalar (of one lane's type).
func (f *function) spread(v value.Value, t kernel.Type) value.Value {
	return f.once(expression{op: "spread", x: v, n: t.String()}, func() value.Value {
		if c, ok := v.(constant.Constant); ok && t.Lanes == 1 {
			return fill(f.allLanes(t), c)
		}
		if x, ok := f.repeats[v]; ok {
			return f.repeat(x, f.allLanes(t))
		}
		if t.Lanes > 1 {
			mask := make([]int, t.Lanes*f.width)
			for i := range mask {
				mask[i] = i % t.Lanes
			}
			return f.shuffle(v, mask)
		}
		return f.repeat(v, f.allLanes(t))
	})
}

// repeat is a vector of one value.
func (f *function) repeat(v value.Value, t *types.VectorType) value.Value {
	if c, ok := v.(constant.Constant); ok {
		return fill(t, c)
	}
	one := f.block.NewInsertElement(constant.NewUndef(t), v, i32Const(0))
	return f.block.NewShuffleVector(one, constant.NewUndef(t), constant.NewZeroInitializer(types.NewVector(t.Len, types.I32)))
}

// plus is base plus a constant, of an integer type.
func (f *function) plus(t kernel.Type, base value.Value, n int64) value.Value {
	typ := scalarType(t.Scalar)
	switch {
	case base == nil:
		return intConst(typ, n)
	case n == 0:
		return base
	}
	return f.once(expression{op: "plus", x: base, k: n}, func() value.Value { return f.block.NewAdd(base, intConst(typ, n)) })
}

// shuffle picks elements of one vector.
func (f *function) shuffle(v value.Value, from []int) value.Value {
	return f.shuffle2(v, constant.NewUndef(v.Type()), from)
}

// shuffle2 picks elements of two vectors of one type, the second's numbered
// after the first's.
func (f *function) shuffle2(a, b value.Value, from []int) value.Value {
	return f.block.NewShuffleVector(a, b, numbers(from))
}

// numbers makes the mask of a shuffle.
func numbers(from []int) *vectorConstant {
	b, separator := make([]byte, 0, 8*len(from)), "<i32 "
	for _, n := range from {
		b = strconv.AppendInt(append(b, separator...), int64(n), 10)
		separator = ", i32 "
	}
	return &vectorConstant{types.NewVector(uint64(len(from)), types.I32), string(append(b, '>'))}
}

// counting is first, first+1 ... of n numbers.
func counting(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// repeated repeats each of n numbers for the elements of a lane.
func repeated(n, lanes int) []int {
	out := make([]int, n*lanes)
	for i := range out {
		out[i] = i / lanes
	}
	return out
}

// expression is a value that is computed once in a block and those inside it.
type expression struct {
	op   string
	x, y value.Value
	k    int64
	n    string
}

// once returns the value of an expression, made at its first use.
func (f *function) once(e expression, make func() value.Value) value.Value {
	for _, scope := range f.known {
		if v, ok := scope[e]; ok {
			return v
		}
	}
	v := make()
	f.know(e, v)
	return v
}

// know stores an expression's value for once to find.
func (f *function) know(e expression, v value.Value) { f.known[len(f.known)-1][e] = v }

// scoped runs g and then forgets the values computed in it, since its blocks do not
// precede those that follow.
func (f *function) scoped(g func()) {
	f.known = append(f.known, map[expression]value.Value{})
	g()
	f.known = f.known[:len(f.known)-1]
}

// intrinsic declares an intrinsic function in the module.
func (f *function) intrinsic(name string, result types.Type, params ...types.Type) value.Value {
	if have := f.declared[name]; have != nil {
		return have
	}
	var ps []*ir.Param
	for _, p := range params {
		ps = append(ps, ir.NewParam("", p))
	}
	fn := f.module.NewFunc(name, result, ps...)
	f.declared[name] = fn
	return fn
}

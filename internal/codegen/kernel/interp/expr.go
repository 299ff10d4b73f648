package interp

import (
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/num"
)

// eval computes an expression for the threads of mask. The result is only read,
// and only until the statement ends.
func (m *machine) eval(e *kernel.Expr, mask []bool) []value {
	switch e.Op {
	case kernel.OpLocal, kernel.OpElement:
		name := e.Name
		if e.Op == kernel.OpElement {
			name = m.element(name, e.Args[0], mask)
		}
		local := m.locals[name]
		if local == nil {
			failf("%s has no value yet", name)
		}
		return local
	case kernel.OpConst, kernel.OpScalar, kernel.OpStep, kernel.OpThread, kernel.OpLane, kernel.OpSimd:
		return m.same(e)
	}
	var args [4][]value
	for i, a := range e.Args {
		args[i] = m.eval(a, mask)
	}
	out := m.operand()
	switch e.Op {
	case kernel.OpSimdSum, kernel.OpSimdMax, kernel.OpSimdMin, kernel.OpSimdPrefix, kernel.OpSimdShuffle, kernel.OpSimdShuffleXor:
		m.eachSimd(mask, func(_, first int) { m.acrossLanes(e, first, args[0], args[1], out) })
	case kernel.OpGroup:
		for t := range out {
			out[t].i[0] = int64(m.group[e.Int])
		}
	case kernel.OpLoad:
		m.load(e, mask, args[0], out)
	case kernel.OpSelect, kernel.OpVec, kernel.OpExtract, kernel.OpHalves, kernel.OpE2M1, kernel.OpConvert, kernel.OpBitcast:
		for t, on := range mask {
			if on {
				rearrange(e, t, &args, &out[t])
			}
		}
	default:
		arithmetic(e, mask, &args, out)
	}
	return out
}

// same is an expression with the same values in every threadgroup.
func (m *machine) same(e *kernel.Expr) []value {
	if v, ok := m.fixed[e]; ok {
		return v
	}
	out := make([]value, m.threads)
	for t := range out {
		v := &out[t]
		switch e.Op {
		case kernel.OpConst:
			v.f[0], v.i[0] = float32(e.Float), wrap(e.Type.Scalar, e.Int)
		case kernel.OpScalar:
			bits := m.launch.Scalars[e.Name]
			v.f[0], v.i[0] = math.Float32frombits(uint32(bits)), wrap(e.Type.Scalar, int64(bits))
		case kernel.OpStep:
			decode(v, m.launch.Step[m.kernel.Step.Offset(e.Name):], e.Type)
		case kernel.OpThread:
			v.i[0] = int64(t)
		case kernel.OpLane:
			v.i[0] = int64(t % m.width)
		case kernel.OpSimd:
			v.i[0] = int64(t / m.width)
		}
	}
	m.fixed[e] = out
	return out
}

// load reads an element of a place for each thread.
func (m *machine) load(e *kernel.Expr, mask []bool, index, out []value) {
	p := m.place(e.Space, e.Name)
	for t, on := range mask {
		if on {
			decode(&out[t], p.at(index[t].i[0], t, false), p.elem)
		}
	}
}

// combines says how a reduction adds one more lane.
func combines(op kernel.Op) kernel.Op {
	switch op {
	case kernel.OpSimdMax:
		return kernel.OpMax
	case kernel.OpSimdMin:
		return kernel.OpMin
	}
	return kernel.OpAdd
}

// acrossLanes computes an operation over the SIMD group that begins at thread first.
func (m *machine) acrossLanes(e *kernel.Expr, first int, x, from, out []value) {
	op, all := combines(e.Op), x[first]
	for lane := range m.width {
		t := first + lane
		switch {
		case e.Op == kernel.OpSimdShuffle:
			n := from[t].i[0]
			if n < 0 || n >= int64(m.width) {
				failf("thread %d: shuffle from lane %d of %d", t, n, m.width)
			}
			out[t] = x[first+int(n)]
		case e.Op == kernel.OpSimdShuffleXor:
			out[t] = x[first+(lane^int(e.Int))]
		case lane == 0:
			out[t] = value{} // of a prefix
		default:
			out[t] = all
			for l := range e.Type.Lanes {
				if isFloat(e.Type.Scalar) {
					all.f[l], _ = float(op, all.f[l], x[t].f[l], 0)
				} else {
					all.i[l] = wrap(e.Type.Scalar, integer(op, e.Type.Scalar, all.i[l], x[t].i[l]))
				}
			}
		}
	}
	if e.Op == kernel.OpSimdSum || e.Op == kernel.OpSimdMax || e.Op == kernel.OpSimdMin {
		for lane := range m.width {
			out[first+lane] = all
		}
	}
}

func isFloat(s kernel.Scalar) bool { return s == kernel.F32 || s == kernel.F16 }

// rearrange computes operations that move or reinterpret values, for thread t.
func rearrange(e *kernel.Expr, t int, args *[4][]value, v *value) {
	switch e.Op {
	case kernel.OpSelect:
		if args[0][t].i[0] != 0 {
			*v = args[1][t]
		} else {
			*v = args[2][t]
		}
	case kernel.OpVec:
		for l := range e.Args {
			v.f[l], v.i[l] = args[l][t].f[0], args[l][t].i[0]
		}
	case kernel.OpExtract:
		v.f[0], v.i[0] = args[0][t].f[e.Int], args[0][t].i[e.Int]
	case kernel.OpHalves:
		w := uint32(args[0][t].i[0])
		v.f[0], v.f[1] = halfValue(uint16(w)), halfValue(uint16(w>>16))
	case kernel.OpE2M1:
		v.f[0] = num.E2M1ToF32(uint8(args[0][t].i[0] & 15))
	case kernel.OpConvert, kernel.OpBitcast:
		cast := convert
		if e.Op == kernel.OpBitcast {
			cast = bitcast
		}
		for l := range e.Type.Lanes {
			v.f[l], v.i[l] = cast(e.Args[0].Type.Scalar, e.Type.Scalar, args[0][t].f[l], args[0][t].i[l])
		}
	}
}

// arithmetic computes an operation lane by lane; comparisons of floats give integers.
func arithmetic(e *kernel.Expr, mask []bool, args *[4][]value, out []value) {
	from, x := e.Args[0].Type, args[0]
	y, z := x, x // where there are fewer operands, nothing reads them
	if len(e.Args) > 1 {
		y = args[1]
	}
	if len(e.Args) > 2 {
		z = args[2]
	}
	real := isFloat(from.Scalar)
	for t, on := range mask {
		if !on {
			continue
		}
		for l := range from.Lanes {
			if real {
				out[t].f[l], out[t].i[l] = float(e.Op, x[t].f[l], y[t].f[l], z[t].f[l])
			} else {
				out[t].i[l] = wrap(e.Type.Scalar, integer(e.Op, from.Scalar, x[t].i[l], y[t].i[l]))
			}
		}
	}
}

func convert(from, to kernel.Scalar, f float32, i int64) (float32, int64) {
	switch {
	case isFloat(from) && to == kernel.F16:
		return halfValue(halfBits(f)), 0
	case isFloat(from) && to == kernel.F32:
		return f, 0
	case isFloat(from):
		return 0, wrap(to, int64(f))
	case isFloat(to):
		return float32(i), 0
	}
	return 0, wrap(to, i)
}

func bitcast(from, to kernel.Scalar, f float32, i int64) (float32, int64) {
	switch from {
	case kernel.F32:
		i = int64(math.Float32bits(f))
	case kernel.F16:
		i = int64(halfBits(f))
	}
	switch to {
	case kernel.F32:
		return math.Float32frombits(uint32(i)), 0
	case kernel.F16:
		return halfValue(uint16(i)), 0
	}
	return 0, wrap(to, i)
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// compare tells comparisons from other operations.
func compare[N float32 | int64](op kernel.Op, x, y N) (result, isComparison bool) {
	switch op {
	case kernel.OpLt:
		return x < y, true
	case kernel.OpLe:
		return x <= y, true
	case kernel.OpGt:
		return x > y, true
	case kernel.OpGe:
		return x >= y, true
	case kernel.OpEq:
		return x == y, true
	case kernel.OpNe:
		return x != y, true
	}
	return false, false
}

// float is an operation on floats; comparisons give the integer.
func float(op kernel.Op, x, y, z float32) (float32, int64) {
	if b, ok := compare(op, x, y); ok {
		return 0, truth(b)
	}
	wide := float64(x)
	switch op {
	case kernel.OpAdd:
		return x + y, 0
	case kernel.OpSub:
		return x - y, 0
	case kernel.OpMul:
		return float32(x * y), 0
	case kernel.OpDiv:
		return x / y, 0
	case kernel.OpMin, kernel.OpMax:
		return extreme(op, x, y), 0
	case kernel.OpNeg:
		return -x, 0
	case kernel.OpFma:
		return fma(x, y, z), 0
	case kernel.OpAbs:
		wide = math.Abs(wide)
	case kernel.OpExp:
		wide = math.Exp(wide)
	case kernel.OpLog:
		wide = math.Log(wide)
	case kernel.OpSqrt:
		wide = math.Sqrt(wide)
	case kernel.OpRsqrt:
		wide = 1 / math.Sqrt(wide)
	case kernel.OpRint:
		wide = math.RoundToEven(wide)
	case kernel.OpFloor:
		wide = math.Floor(wide)
	default:
		failf("operation %d of floats is not known", op)
	}
	return float32(wide), 0
}

// extreme is fmin or fmax: the other operand if one is not a number.
func extreme(op kernel.Op, x, y float32) float32 {
	switch {
	case x != x:
		return y
	case y != y:
		return x
	case op == kernel.OpMin:
		return min(x, y)
	}
	return max(x, y)
}

// fma rounds once: the product is exact in float64, the sum is made odd
// where float64 had to round it, so that the rounding to float32 is right.
func fma(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	s := p + float64(z)
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	b := s - p
	lost := (p - (s - b)) + (float64(z) - b)
	if lost != 0 && math.Float64bits(s)&1 == 0 {
		toward := math.Inf(1)
		if lost < 0 {
			toward = math.Inf(-1)
		}
		s = math.Nextafter(s, toward)
	}
	return float32(s)
}

// integer is an operation on integers and conditions, before wrapping.
func integer(op kernel.Op, s kernel.Scalar, x, y int64) int64 {
	if b, ok := compare(op, x, y); ok {
		return truth(b)
	}
	switch op {
	case kernel.OpAdd:
		return x + y
	case kernel.OpSub:
		return x - y
	case kernel.OpMul:
		return x * y
	case kernel.OpDiv, kernel.OpRem:
		if x < 0 || y <= 0 {
			failf("division of %d by %d", x, y)
		}
		if op == kernel.OpDiv {
			return x / y
		}
		return x % y
	case kernel.OpMin:
		return min(x, y)
	case kernel.OpMax:
		return max(x, y)
	case kernel.OpAnd:
		return x & y
	case kernel.OpOr:
		return x | y
	case kernel.OpXor:
		return x ^ y
	case kernel.OpShl, kernel.OpShr:
		if y < 0 || y > 31 {
			failf("shift by %d bits", y)
		}
		if op == kernel.OpShl {
			return x << y
		}
		return x >> y
	case kernel.OpNot:
		if s == kernel.Bool {
			return 1 - x
		}
		return ^x
	case kernel.OpNeg:
		return -x
	}
	failf("operation %d of integers is not known", op)
	return 0
}

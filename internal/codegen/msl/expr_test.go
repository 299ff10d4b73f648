package msl_test

import (
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
)

// operands are values of a kernel to build expressions from.
type operands struct {
	i, j    *kernel.Expr // i32
	u, v    *kernel.Expr // u32
	x, y, z *kernel.Expr // f32
	p, q    *kernel.Expr // bool
	l       *kernel.Expr // i64
	h       *kernel.Expr // f16
	f4      *kernel.Expr // f32x4
	step    *kernel.Expr
	scalar  *kernel.Expr
	at      func(i *kernel.Expr) *kernel.Expr // loads a f32
	several kernel.Several                    // 4 f32
}

// printed is the initialiser that an expression becomes.
func printed(t *testing.T, f func(o operands) *kernel.Expr) (string, error) {
	t.Helper()
	layout := &kernel.StepLayout{Fields: []kernel.StepField{{Name: "T", Elem: kernel.I32}}}
	b := kernel.New("probe", layout, kernel.Schedule{Threads: 32, SimdWidth: 32})
	a := b.Pointer("a", kernel.Of(kernel.F32), kernel.Read)
	codes := b.Pointer("codes", kernel.Of(kernel.U32), kernel.Read)
	halves := b.Pointer("halves", kernel.Of(kernel.F16), kernel.Read)
	quads := b.Pointer("quads", kernel.Vec(kernel.F32, 4), kernel.Read)
	_, scalar := b.Scalar("n", kernel.F32)
	let := func(name string, e *kernel.Expr) *kernel.Expr { return b.Let(name, e) }
	o := operands{
		i: let("i", kernel.Thread()), j: let("j", kernel.Lane()),
		u: let("u", codes.At(i32(0))), v: let("v", codes.At(i32(1))),
		x: let("x", a.At(i32(0))), y: let("y", a.At(i32(1))), z: let("z", a.At(i32(2))),
		h: let("h", halves.At(i32(0))), f4: let("f4", quads.At(i32(0))),
		step: b.StepValue("T"), scalar: scalar, at: a.At,
	}
	o.p, o.q = let("p", o.x.Lt(o.y)), let("q", o.x.Eq(o.z))
	o.l = let("l", o.i.To(kernel.I64))
	o.several = b.Several("several", kernel.Of(kernel.F32), 4)
	b.Let("result", f(o))
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	text, err := msl.Print(k)
	if err != nil {
		return "", err
	}
	_, text, _ = strings.Cut(text, " result = ")
	text, _, _ = strings.Cut(text, ";\n")
	return text, nil
}

func TestExpressions(t *testing.T) {
	f := kernel.F
	tests := []struct {
		want string
		expr func(o operands) *kernel.Expr
	}{
		// Brackets: where the tree needs them, and around bitwise operators.
		{"i + j * 4", func(o operands) *kernel.Expr { return o.i.Add(o.j.Mul(i32(4))) }},
		{"(i + j) * 4", func(o operands) *kernel.Expr { return o.i.Add(o.j).Mul(i32(4)) }},
		{"x + y - z", func(o operands) *kernel.Expr { return o.x.Add(o.y).Sub(o.z) }},
		{"x - (y - z)", func(o operands) *kernel.Expr { return o.x.Sub(o.y.Sub(o.z)) }},
		{"x + (y + z)", func(o operands) *kernel.Expr { return o.x.Add(o.y.Add(o.z)) }},
		{"x / y * z", func(o operands) *kernel.Expr { return o.x.Div(o.y).Mul(o.z) }},
		{"x / (y * z)", func(o operands) *kernel.Expr { return o.x.Div(o.y.Mul(o.z)) }},
		{"i / 4 % 8", func(o operands) *kernel.Expr { return o.i.Div(i32(4)).Rem(i32(8)) }},
		{"(u >> 4) & 15u", func(o operands) *kernel.Expr { return o.u.Shr(kernel.U(4)).And(kernel.U(15)) }},
		{"u >> (v & 31u)", func(o operands) *kernel.Expr { return o.u.Shr(o.v.And(kernel.U(31))) }},
		{"(u << 2) + v", func(o operands) *kernel.Expr { return o.u.Shl(kernel.U(2)).Add(o.v) }},
		{"u << (v + 2u)", func(o operands) *kernel.Expr { return o.u.Shl(o.v.Add(kernel.U(2))) }},
		{"u << 2 << 3", func(o operands) *kernel.Expr { return o.u.Shl(kernel.U(2)).Shl(kernel.U(3)) }},
		{"(u & v) | (u ^ v)", func(o operands) *kernel.Expr { return o.u.And(o.v).Or(o.u.Xor(o.v)) }},
		{"u | v | 1u", func(o operands) *kernel.Expr { return o.u.Or(o.v).Or(kernel.U(1)) }},
		{"(u & v) == 0u", func(o operands) *kernel.Expr { return o.u.And(o.v).Eq(kernel.U(0)) }},
		{"(x < y) != p", func(o operands) *kernel.Expr { return o.x.Lt(o.y).Xor(o.p) }},
		{"i < j && i >= 0", func(o operands) *kernel.Expr { return o.i.Lt(o.j).And(o.i.Ge(i32(0))) }},
		{"(p && q) || i <= j", func(o operands) *kernel.Expr { return o.p.And(o.q).Or(o.i.Le(o.j)) }},
		{"p && (q || i != j)", func(o operands) *kernel.Expr { return o.p.And(o.q.Or(o.i.Ne(o.j))) }},
		{"!(i > j)", func(o operands) *kernel.Expr { return o.i.Gt(o.j).Not() }},
		{"~u & v", func(o operands) *kernel.Expr { return o.u.Not().And(o.v) }},
		{"-(x + y)", func(o operands) *kernel.Expr { return o.x.Add(o.y).Neg() }},
		{"x - -y", func(o operands) *kernel.Expr { return o.x.Sub(o.y.Neg()) }},
		{"-(-x)", func(o operands) *kernel.Expr { return o.x.Neg().Neg() }},
		{"-(-1.0f)", func(o operands) *kernel.Expr { return f(-1).Neg() }},
		{"a[(i + 1) * 2]", func(o operands) *kernel.Expr { return o.at(o.i.Add(i32(1)).Mul(i32(2))) }},

		// A choice evaluates one side: with a SIMD-group function, both.
		{"p ? x : y", func(o operands) *kernel.Expr { return o.p.Select(o.x, o.y) }},
		{"(p ? x : y) * z", func(o operands) *kernel.Expr { return o.p.Select(o.x, o.y).Mul(o.z) }},
		{"i < 2 ? 0 : i < 4 ? 1 : 2", func(o operands) *kernel.Expr {
			return o.i.Lt(i32(2)).Select(i32(0), o.i.Lt(i32(4)).Select(i32(1), i32(2)))
		}},
		{"p ? (q ? x : y) : z", func(o operands) *kernel.Expr { return o.p.Select(o.q.Select(o.x, o.y), o.z) }},
		{"(p ? p : q) ? x : y", func(o operands) *kernel.Expr { return o.p.Select(o.p, o.q).Select(o.x, o.y) }},
		{"select(0.0f, simd_sum(x), p)", func(o operands) *kernel.Expr { return o.p.Select(o.x.SimdSum(), f(0)) }},
		{"select(f4, simd_sum(f4), bool4(p))", func(o operands) *kernel.Expr { return o.p.Select(o.f4.SimdSum(), o.f4) }},
		{"bool(p & (simd_max(i) == 3))", func(o operands) *kernel.Expr { return o.p.And(o.i.SimdMax().Eq(i32(3))) }},
		{"simd_max(i) == 3 && p", func(o operands) *kernel.Expr { return o.i.SimdMax().Eq(i32(3)).And(o.p) }},

		// Literals.
		{"x * 0.5f", func(o operands) *kernel.Expr { return o.x.Mul(f(0.5)) }},
		{"x + 1e-6f", func(o operands) *kernel.Expr { return o.x.Add(f(1e-6)) }},
		{"x + 1e20f", func(o operands) *kernel.Expr { return o.x.Add(f(1e20)) }},
		{"x * 0.1f", func(o operands) *kernel.Expr { return o.x.Mul(f(0.1)) }},
		{"x * -2.0f", func(o operands) *kernel.Expr { return o.x.Mul(f(-2)) }},
		{"-INFINITY", func(o operands) *kernel.Expr { return f(math.Inf(-1)) }},
		{"INFINITY", func(o operands) *kernel.Expr { return f(math.Inf(1)) }},
		{"NAN", func(o operands) *kernel.Expr { return f(math.NaN()) }},
		{"-0.0f", func(o operands) *kernel.Expr { return f(math.Copysign(0, -1)) }},
		{"1e-45f", func(o operands) *kernel.Expr { return f(math.SmallestNonzeroFloat32) }},
		{"u & 0x0f0fu", func(o operands) *kernel.Expr { return o.u.And(kernel.U(0xf0f)) }},
		{"u >= 0x80000000u", func(o operands) *kernel.Expr { return o.u.Ge(kernel.U(1 << 31)) }},
		{"u % 1000u", func(o operands) *kernel.Expr { return o.u.Rem(kernel.U(1000)) }},
		{"i & 0x01ff", func(o operands) *kernel.Expr { return o.i.And(i32(511)) }},
		{"int(0x80000000u)", func(o operands) *kernel.Expr { return i32(math.MinInt32) }},
		{"l * 3000000000l", func(o operands) *kernel.Expr { return o.l.Mul(kernel.C(kernel.I64, 3e9)) }},
		{"half(0.5f)", func(o operands) *kernel.Expr { return kernel.C(kernel.F16, 0.5) }},

		// Conversions and vectors.
		{"float(h)", func(o operands) *kernel.Expr { return o.h.To(kernel.F32) }},
		{"as_type<half>(ushort(u))", func(o operands) *kernel.Expr { return o.u.To(kernel.U16).As(kernel.F16) }},
		{"float4(x, y, z, 0.0f).y", func(o operands) *kernel.Expr { return kernel.Vector(o.x, o.y, o.z, f(0)).Lane(1) }},
		{"f4 * float4(x)", func(o operands) *kernel.Expr { return o.f4.Mul(kernel.Vector(o.x, o.x, o.x, o.x)) }},
		{"float4(x, x, y, y)", func(o operands) *kernel.Expr { return kernel.Vector(o.x, o.x, o.y, o.y) }},
		{"(f4 + f4).w", func(o operands) *kernel.Expr { return o.f4.Add(o.f4).Lane(3) }},
		{"int4(f4).x", func(o operands) *kernel.Expr { return o.f4.To(kernel.I32).Lane(0) }},
	}
	for _, test := range tests {
		got, err := printed(t, test.expr)
		if err != nil {
			t.Errorf("%s: %v", test.want, err)
		} else if got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// TestEveryOp prints each operation of the kernel IR once.
func TestEveryOp(t *testing.T) {
	examples := map[kernel.Op]struct {
		want string
		expr func(o operands) *kernel.Expr
	}{
		kernel.OpConst:          {"7", func(o operands) *kernel.Expr { return i32(7) }},
		kernel.OpLocal:          {"x", func(o operands) *kernel.Expr { return o.x }},
		kernel.OpScalar:         {"n", func(o operands) *kernel.Expr { return o.scalar }},
		kernel.OpStep:           {"step.T", func(o operands) *kernel.Expr { return o.step }},
		kernel.OpGroup:          {"group_z", func(o operands) *kernel.Expr { return kernel.Group(2) }},
		kernel.OpThread:         {"tid", func(o operands) *kernel.Expr { return kernel.Thread() }},
		kernel.OpLane:           {"lane", func(o operands) *kernel.Expr { return kernel.Lane() }},
		kernel.OpSimd:           {"simd_group", func(o operands) *kernel.Expr { return kernel.Simd() }},
		kernel.OpLoad:           {"a[i]", func(o operands) *kernel.Expr { return o.at(o.i) }},
		kernel.OpAdd:            {"x + y", func(o operands) *kernel.Expr { return o.x.Add(o.y) }},
		kernel.OpSub:            {"x - y", func(o operands) *kernel.Expr { return o.x.Sub(o.y) }},
		kernel.OpMul:            {"x * y", func(o operands) *kernel.Expr { return o.x.Mul(o.y) }},
		kernel.OpDiv:            {"x / y", func(o operands) *kernel.Expr { return o.x.Div(o.y) }},
		kernel.OpRem:            {"i % j", func(o operands) *kernel.Expr { return o.i.Rem(o.j) }},
		kernel.OpMin:            {"fmin(x, y)", func(o operands) *kernel.Expr { return o.x.Min(o.y) }},
		kernel.OpMax:            {"max(i, j)", func(o operands) *kernel.Expr { return o.i.Max(o.j) }},
		kernel.OpAnd:            {"u & v", func(o operands) *kernel.Expr { return o.u.And(o.v) }},
		kernel.OpOr:             {"p || q", func(o operands) *kernel.Expr { return o.p.Or(o.q) }},
		kernel.OpXor:            {"u ^ v", func(o operands) *kernel.Expr { return o.u.Xor(o.v) }},
		kernel.OpShl:            {"u << v", func(o operands) *kernel.Expr { return o.u.Shl(o.v) }},
		kernel.OpShr:            {"u >> 8", func(o operands) *kernel.Expr { return o.u.Shr(kernel.U(8)) }},
		kernel.OpLt:             {"x < y", func(o operands) *kernel.Expr { return o.x.Lt(o.y) }},
		kernel.OpLe:             {"x <= y", func(o operands) *kernel.Expr { return o.x.Le(o.y) }},
		kernel.OpGt:             {"x > y", func(o operands) *kernel.Expr { return o.x.Gt(o.y) }},
		kernel.OpGe:             {"x >= y", func(o operands) *kernel.Expr { return o.x.Ge(o.y) }},
		kernel.OpEq:             {"x == y", func(o operands) *kernel.Expr { return o.x.Eq(o.y) }},
		kernel.OpNe:             {"x != y", func(o operands) *kernel.Expr { return o.x.Ne(o.y) }},
		kernel.OpNot:            {"!p", func(o operands) *kernel.Expr { return o.p.Not() }},
		kernel.OpNeg:            {"-x", func(o operands) *kernel.Expr { return o.x.Neg() }},
		kernel.OpAbs:            {"fabs(x)", func(o operands) *kernel.Expr { return o.x.Abs() }},
		kernel.OpFma:            {"fma(x, y, z)", func(o operands) *kernel.Expr { return o.x.Fma(o.y, o.z) }},
		kernel.OpExp:            {"precise::exp(x)", func(o operands) *kernel.Expr { return o.x.Exp() }},
		kernel.OpLog:            {"precise::log(x)", func(o operands) *kernel.Expr { return o.x.Log() }},
		kernel.OpSqrt:           {"precise::sqrt(x)", func(o operands) *kernel.Expr { return o.x.Sqrt() }},
		kernel.OpRsqrt:          {"precise::rsqrt(x)", func(o operands) *kernel.Expr { return o.x.Rsqrt() }},
		kernel.OpRint:           {"rint(x)", func(o operands) *kernel.Expr { return o.x.Rint() }},
		kernel.OpFloor:          {"floor(x)", func(o operands) *kernel.Expr { return o.x.Floor() }},
		kernel.OpSelect:         {"p ? i : j", func(o operands) *kernel.Expr { return o.p.Select(o.i, o.j) }},
		kernel.OpConvert:        {"int(x)", func(o operands) *kernel.Expr { return o.x.To(kernel.I32) }},
		kernel.OpElement:        {"several[2]", func(o operands) *kernel.Expr { return o.several.At(i32(2)) }},
		kernel.OpBitcast:        {"as_type<float>(u)", func(o operands) *kernel.Expr { return o.u.As(kernel.F32) }},
		kernel.OpVec:            {"float2(x, y)", func(o operands) *kernel.Expr { return kernel.Vector(o.x, o.y) }},
		kernel.OpExtract:        {"f4.z", func(o operands) *kernel.Expr { return o.f4.Lane(2) }},
		kernel.OpHalves:         {"float2(as_type<half2>(u))", func(o operands) *kernel.Expr { return o.u.Halves() }},
		kernel.OpE2M1:           {"(float(as_type<half>(ushort(((u & 8u) << 12) | ((u & 7u) << 9)))) * 16384.0f)", func(o operands) *kernel.Expr { return o.u.E2M1() }},
		kernel.OpSimdSum:        {"simd_sum(x)", func(o operands) *kernel.Expr { return o.x.SimdSum() }},
		kernel.OpSimdMax:        {"simd_max(u)", func(o operands) *kernel.Expr { return o.u.SimdMax() }},
		kernel.OpSimdMin:        {"simd_min(i)", func(o operands) *kernel.Expr { return o.i.SimdMin() }},
		kernel.OpSimdPrefix:     {"simd_prefix_exclusive_sum(i)", func(o operands) *kernel.Expr { return o.i.SimdPrefix() }},
		kernel.OpSimdShuffle:    {"simd_shuffle(x, ushort(j))", func(o operands) *kernel.Expr { return o.x.Shuffle(o.j) }},
		kernel.OpSimdShuffleXor: {"simd_shuffle_xor(x, 16)", func(o operands) *kernel.Expr { return o.x.ShuffleXor(16) }},
	}
	for op := kernel.OpConst; op <= kernel.OpSimdShuffleXor; op++ {
		example, ok := examples[op]
		if !ok {
			t.Errorf("operation %v has no example", op)
			continue
		}
		got, err := printed(t, example.expr)
		if err != nil || got != example.want {
			t.Errorf("operation %v: got %s, %v, want %s", op, got, err, example.want)
		}
	}
}

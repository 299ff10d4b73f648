package msl_test

import (
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
)

// The kernels of the golden files and of the runs through the stand-in.

func i32(n int) *kernel.Expr     { return kernel.I(n) }
func f32(v float64) *kernel.Expr { return kernel.F(v) }

func built(t testing.TB, b *kernel.Builder) *kernel.Kernel {
	t.Helper()
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	normWidth   = 200
	normThreads = 128
	normEps     = 1e-6
)

// rmsNorm normalises a row a threadgroup.
func rmsNorm(t testing.TB) *kernel.Kernel {
	b := kernel.New("rms_norm", nil, kernel.Schedule{Threads: normThreads, SimdWidth: 32, Settings: []kernel.Setting{
		{Name: "threads", Value: "128", Why: "a row is read once and kept in registers by the cache"},
	}}, "y = x / sqrt(mean(x*x) + eps) * weight, a row a threadgroup.")
	x := b.Pointer("x", kernel.Of(kernel.F32), kernel.Read)
	weight := b.Pointer("weight", kernel.Of(kernel.U16), kernel.Read)
	y := b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	_, width := b.Scalar("width", kernel.I32)
	sums := b.SharedArray("sums", kernel.F32, normThreads/32)
	row := b.Let("row", kernel.Group(0).Mul(width))
	sum := b.Var("sum", f32(0))
	b.For("i", kernel.Thread(), width, i32(normThreads), func(i *kernel.Expr) {
		v := b.Let("v", x.At(row.Add(i)))
		sum.Set(v.Fma(v, sum.Expr))
	})
	part := b.Let("part", sum.SimdSum())
	b.If(kernel.Lane().Eq(i32(0)), func() { sums.Set(kernel.Simd(), part) }, nil)
	b.Barrier()
	b.Comment("Every thread adds up the SIMD groups' sums, in the same order.")
	total := b.Var("total", sums.At(i32(0)))
	b.For("s", i32(1), i32(normThreads/32), i32(1), func(s *kernel.Expr) { total.Set(total.Add(sums.At(s))) })
	inv := b.Let("inv", total.Div(width.To(kernel.F32)).Add(f32(normEps)).Rsqrt())
	b.For("i", kernel.Thread(), width, i32(normThreads), func(i *kernel.Expr) {
		w := b.Let("w", weight.At(i).To(kernel.U32).Shl(kernel.U(16)).As(kernel.F32))
		y.Set(row.Add(i), x.At(row.Add(i)).Mul(inv).Mul(w))
	})
	return built(t, b)
}

const (
	matvecRows = 6
	matvecCols = 512
	groupCols  = 32
)

// matvec4 multiplies a matrix of 4-bit codes (eight a word, low bits first)
// with a scale and a bias in f16 for every 32 of them. A SIMD group makes one
// output; a lane takes a word at a time.
func matvec4(t testing.TB) *kernel.Kernel {
	b := kernel.New("matvec_q4", nil, kernel.Schedule{Threads: 64, SimdWidth: 32},
		"y[n] = sum over k of (scale * code[n, k] + bias) * x[k]", "", "Codes have 4 bits; a scale and a bias serve 32 columns.")
	w := b.Pointer("w", kernel.Of(kernel.U32), kernel.Read)
	scales := b.Pointer("scales", kernel.Of(kernel.F16), kernel.Read)
	biases := b.Pointer("biases", kernel.Of(kernel.F16), kernel.Read)
	x := b.Pointer("x", kernel.Vec(kernel.F32, 4), kernel.Read)
	y := b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	n := b.Let("n", kernel.Group(0).Mul(i32(2)).Add(kernel.Simd()))
	b.If(n.Lt(i32(matvecRows)), func() {
		sum := b.Var("sum", f32(0))
		b.For("word", kernel.Lane(), i32(matvecCols/8), i32(32), func(word *kernel.Expr) {
			codes := b.Let("codes", w.At(n.Mul(i32(matvecCols/8)).Add(word)))
			at := b.Let("group", n.Mul(i32(matvecCols/groupCols)).Add(word.Div(i32(groupCols/8))))
			x0, x1 := b.Let("x0", x.At(word.Mul(i32(2)))), b.Let("x1", x.At(word.Mul(i32(2)).Add(i32(1))))
			part, inputs := f32(0), f32(0)
			for q := range 8 {
				shifted := codes
				if q > 0 {
					shifted = codes.Shr(kernel.U(uint32(4 * q)))
				}
				code := shifted.And(kernel.U(15)).To(kernel.F32)
				in := x0.Lane(q % 4)
				if q >= 4 {
					in = x1.Lane(q % 4)
				}
				if q == 0 {
					part, inputs = code.Mul(in), in
					continue
				}
				part, inputs = code.Fma(in, part), inputs.Add(in)
			}
			scale, bias := scales.At(at).To(kernel.F32), biases.At(at).To(kernel.F32)
			sum.Set(sum.Add(scale.Fma(part, bias.Mul(inputs))))
		})
		total := b.Let("total", sum.SimdSum())
		b.If(kernel.Lane().Eq(i32(0)), func() { y.Set(n, total) }, nil)
	}, nil)
	return built(t, b)
}

const (
	tileRows = 16
	tileCols = 32
	matmulM  = 32
	matmulN  = 64
	matmulK  = 24
)

// matmul makes C = A times B transposed in tiles of 16 x 32: each of the two
// SIMD groups holds 16 x 16 of a tile as four fragments.
func matmul(t testing.TB) *kernel.Kernel {
	b := kernel.New("matmul_tiles", nil, kernel.Schedule{Threads: 64, SimdWidth: 32}, "c[m, n] = sum over k of a[m, k] * b[n, k]")
	a := b.Pointer("a", kernel.Of(kernel.F32), kernel.Read)
	w := b.Pointer("b", kernel.Of(kernel.F32), kernel.Read)
	c := b.Pointer("c", kernel.Of(kernel.F32), kernel.Write)
	rows := b.SharedArray("a_tile", kernel.F32, tileRows*8)
	m0 := b.Let("m0", kernel.Group(1).Mul(i32(tileRows)))
	n0 := b.Let("n0", kernel.Group(0).Mul(i32(tileCols)).Add(kernel.Simd().Mul(i32(16))))
	acc := make([]kernel.Matrix, 4)
	for i := range acc {
		acc[i] = b.Fragment("acc", kernel.F32, 8, 8)
	}
	b.For("k", i32(0), i32(matmulK), i32(8), func(k *kernel.Expr) {
		b.For("i", kernel.Thread(), i32(tileRows*8), i32(64), func(i *kernel.Expr) {
			rows.Set(i, a.At(m0.Add(i.Div(i32(8))).Mul(i32(matmulK)).Add(k).Add(i.Rem(i32(8)))))
		})
		b.Barrier()
		var left, right [2]kernel.Matrix
		for i := range 2 {
			left[i] = b.Fragment("left", kernel.F32, 8, 8)
			left[i].Load(rows, i32(64*i), i32(8), false)
			right[i] = b.Fragment("right", kernel.F32, 8, 8)
			right[i].LoadBuffer(w, n0.Add(i32(8*i)).Mul(i32(matmulK)).Add(k), i32(matmulK), true)
		}
		for i, m := range acc {
			m.Accumulate(left[i/2], right[i%2])
		}
		b.Barrier()
	})
	for i, m := range acc {
		m.StoreBuffer(c, m0.Add(i32(i/2*8)).Mul(i32(matmulN)).Add(n0).Add(i32(i%2*8)), i32(matmulN))
	}
	return built(t, b)
}

const (
	mixRows = 5
	mixDims = 8
)

func mixLayout() *kernel.StepLayout {
	return &kernel.StepLayout{Fields: []kernel.StepField{
		{Name: "T", Elem: kernel.I32},
		{Name: "half", Elem: kernel.F32}, // the name of a type
		{Name: "slot", Elem: kernel.I32, Len: mixRows},
		{Name: "limit", Elem: kernel.I32, Len: mixRows},
		{Name: "unused", Elem: kernel.F32, Len: 3},
	}}
}

// rowMix reads a row of a table by its slot, treats it by its length and
// counts its words' bits: integers, branches and the step block. A threadgroup
// is a SIMD group and takes a row.
func rowMix(t testing.TB) *kernel.Kernel {
	b := kernel.New("row_mix", mixLayout(), kernel.Schedule{Threads: 32, SimdWidth: 32}, "y = a mix of a table's row, by the row's limit")
	table := b.Pointer("constant", kernel.Vec(kernel.F32, 2), kernel.Read) // a keyword
	y := b.Pointer("y", kernel.Vec(kernel.F32, 2), kernel.ReadWrite)
	bits := b.Pointer("bits", kernel.Of(kernel.U32), kernel.Write)
	_, rowPairs := b.Scalar("row_pairs", kernel.I32)
	row := b.Let("row", kernel.Group(0))
	b.If(row.Lt(b.StepValue("T")), func() {
		slot := b.Let("slot", b.StepAt("slot", row).To(kernel.I64))
		base := b.Let("base", slot.Mul(rowPairs.To(kernel.I64)))
		seen := b.Var("seen", kernel.U(0))
		b.For("i", kernel.Lane(), b.StepAt("limit", row), i32(32), func(i *kernel.Expr) {
			v := b.Let("v", table.At(base.Add(i.To(kernel.I64))))
			at := row.Mul(rowPairs).Add(i)
			low, high := v.Lane(0), v.Lane(1)
			b.If(low.Gt(high), func() {
				y.Set(at, kernel.Vector(high, low))
			}, func() {
				b.If(low.Eq(high).Or(low.Lt(f32(0)).And(i.Rem(i32(2)).Eq(i32(1)))), func() {
					y.Set(at, v.Mul(kernel.Vector(b.StepValue("half"), b.StepValue("half"))))
				}, func() { y.Set(at, kernel.Vector(low.Abs().Sqrt(), high.Neg().Max(f32(-1.5)))) })
			})
			word := low.As(kernel.U32).Xor(kernel.U(0xffff)).Or(kernel.U(1).Shl(i.And(i32(31)).To(kernel.U32)))
			seen.Set(seen.Add(word.Shr(kernel.U(3)).And(kernel.U(0x00ff00ff)).Rem(kernel.U(1000))))
		})
		most := b.Let("most", seen.SimdMax())
		before := b.Let("before", seen.SimdPrefix())
		b.If(kernel.Lane().Eq(i32(31)), func() { bits.Set(row.Mul(i32(2)), most) }, nil)
		b.If(kernel.Lane().Eq(i32(31)), func() { bits.Set(row.Mul(i32(2)).Add(i32(1)), before) }, nil)
	}, nil)
	return built(t, b)
}

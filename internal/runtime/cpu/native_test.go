package cpu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/draw"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/cpu/native"
	"smelt.example/smelt/internal/runtime/planned"
)

func openLLVM(t testing.TB) *jit.LLVM {
	t.Helper()
	l, err := jit.Open("")
	if err != nil {
		t.Skip(err)
	}
	return l
}

// run runs a launch as machine code, on copies of its buffers, which it returns.
func run(t testing.TB, l *jit.LLVM, k *kernel.Kernel, launch interp.Launch) map[string][]byte {
	t.Helper()
	return runFor(t, l, k, l.Host().Lanes(), launch)
}

// runFor is run with code for vector registers of so many floats.
func runFor(t testing.TB, l *jit.LLVM, k *kernel.Kernel, register int, launch interp.Launch) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, b := range launch.Buffers {
		out[name] = bytes.Clone(b)
	}
	launch.Buffers = out
	code, err := native.CompileFor(l, k, register)
	if err == nil {
		err = errors.Join(code.Run(launch), code.Close())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, kernel.Print(k))
	}
	return out
}

// TestDrawnKernels: random programs with loops and conditions in which lanes
// part ways do what the interpreter says, to the bit.
func TestDrawnKernels(t *testing.T) {
	l := openLLVM(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	ran := 0
	programs := 150
	if testing.Short() {
		programs = 24
	}
	for n := range programs {
		lanes := []int{4, 8, 16, 32}[n%4]
		k, err := draw.Program(r, lanes)
		if err != nil {
			continue // an index or a barrier that the verifier does not allow
		}
		if n%2 == 1 {
			k.Body = draw.LoopsTwice(k.Body)
		}
		launch := draw.Launch(r, lanes, planned.PoisonByte)
		got := runFor(t, l, k, min([]int{4, 8, 16}[n%3], l.Host().Lanes()), launch)
		if err := interp.Run(k, launch); err != nil {
			t.Fatalf("%v\n%s", err, kernel.Print(k))
		}
		ran++
		for name, want := range launch.Buffers {
			if at := firstDifference(got[name], want); at >= 0 {
				t.Fatalf("seed %d, program %d: %s differs from the interpreter's at byte %d\n%s", seed, n, name, at, kernel.Print(k))
			}
		}
	}
	if ran < programs/2 {
		t.Errorf("only %d of %d programs were kernels", ran, programs)
	}
}

// firstDifference compares bits, but takes any NaN for any other and -0 for 0.
func firstDifference(a, b []byte) int {
	for i := 0; i < len(a); i += 4 {
		x, y := binary.LittleEndian.Uint32(a[i:]), binary.LittleEndian.Uint32(b[i:])
		fx, fy := math.Float32frombits(x), math.Float32frombits(y)
		if x != y && !(fx != fx && fy != fy) && !(fx == 0 && fy == 0) {
			return i
		}
	}
	return -1
}

// TestElementary: exp and log are within 2 units in the last place of the true
// ones, and right where results are 0, infinite or no numbers.
func TestElementary(t *testing.T) {
	l := openLLVM(t)
	const n = 1 << 12
	r := rand.New(rand.NewPCG(1, 2))
	special := []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), 88.7, 88.8, -87.3, -100, -103.9, -104, 1e-40, 0x1p-149, math.MaxFloat32}
	for _, f := range []struct {
		name string
		of   func(x *kernel.Expr) *kernel.Expr
		want func(float64) float64
		draw func() float64
	}{
		{"exp", (*kernel.Expr).Exp, math.Exp, func() float64 { return 200 * (r.Float64() - 0.53) }},
		{"log", (*kernel.Expr).Log, math.Log, func() float64 { return math.Exp(200 * (r.Float64() - 0.5)) }},
		{"log near 1", (*kernel.Expr).Log, math.Log, func() float64 { return 1 + 0.4*r.NormFloat64() }},
		{"rsqrt", (*kernel.Expr).Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }, func() float64 { return math.Exp(80 * (r.Float64() - 0.5)) }},
	} {
		b := kernel.New("elementary", &kernel.StepLayout{}, kernel.Schedule{Threads: 8, SimdWidth: 8})
		x, y := b.Pointer("x", kernel.Of(kernel.F32), kernel.Read), b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
		b.For("i", kernel.Lane(), kernel.I(n), kernel.I(8), func(i *kernel.Expr) { y.Set(i, f.of(x.At(i))) })
		k, err := b.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		var in []byte
		var xs []float32
		for i := range n {
			v := f.draw()
			if i < len(special) {
				v = special[i]
			}
			xs = append(xs, float32(v))
			in = binary.LittleEndian.AppendUint32(in, math.Float32bits(float32(v)))
		}
		out := run(t, l, k, interp.Launch{Buffers: map[string][]byte{"x": in, "y": make([]byte, 4*n)}, Grid: [3]int{1, 1, 1}})["y"]
		for i, v := range xs {
			got, want := math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:])), f.want(float64(v))
			if near := float32(want); got == near || got != got && want != want {
				continue
			}
			ulp := math.Max(math.Abs(float64(math.Nextafter32(float32(want), float32(math.Inf(1))))-float64(float32(want))), 0x1p-149)
			if d := math.Abs(float64(got) - want); !(d <= 2*ulp) {
				t.Errorf("%s(%v) = %v, expected %v", f.name, v, got, want)
			}
		}
	}
}

// TestFragments: products of fragments, transposed or not, from both memories,
// kept over a loop or not, square or not.
func TestFragments(t *testing.T) {
	l := openLLVM(t)
	b := kernel.New("fragments", &kernel.StepLayout{}, kernel.Schedule{Threads: 8, SimdWidth: 8})
	x, y := b.Pointer("x", kernel.Of(kernel.F32), kernel.Read), b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	tile := b.SharedArray("tile", kernel.F32, 24*24)
	b.For("i", kernel.Lane(), kernel.I(24*24), kernel.I(8), func(i *kernel.Expr) { tile.Set(i, x.At(i)) })
	b.Barrier()
	acc, left, right := b.Fragment("acc", kernel.F32, 8, 8), b.Fragment("left", kernel.F32, 8, 8), b.Fragment("right", kernel.F32, 8, 8)
	b.For("k", kernel.I(0), kernel.I(24), kernel.I(8), func(k *kernel.Expr) {
		left.Load(tile, k, kernel.I(24), false)
		right.LoadBuffer(x, k.Mul(kernel.I(24)).Add(kernel.I(3)), kernel.I(24), true)
		acc.Accumulate(left, right)
		left.LoadBuffer(x, k.Add(kernel.I(5)), kernel.I(24), true)
		acc.Accumulate(left, right)
	})
	acc.StoreBuffer(y, kernel.I(7), kernel.I(11))
	both := b.Fragment("both", kernel.F32, 8, 8) // both operands of one product
	both.Load(tile, kernel.I(0), kernel.I(24), false)
	acc.Accumulate(both, both)
	acc.StoreBuffer(y, kernel.I(128), kernel.I(8))
	wide, few, many := b.Fragment("wide", kernel.F32, 3, 16), b.Fragment("few", kernel.F32, 3, 4), b.Fragment("many", kernel.F32, 4, 16)
	wide.LoadBuffer(x, kernel.I(1), kernel.I(16), false)
	b.For("k", kernel.I(0), kernel.I(24), kernel.I(4), func(k *kernel.Expr) {
		few.Load(tile, k, kernel.I(24), true)
		many.Load(tile, k.Mul(kernel.I(24)), kernel.I(24), false)
		wide.Accumulate(few, many)
		few.LoadBuffer(x, k, kernel.I(24), false)
		wide.Accumulate(few, many)
	})
	wide.StoreBuffer(y, kernel.I(200), kernel.I(18))
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	launch := interp.Launch{Buffers: map[string][]byte{"y": bytes.Repeat([]byte{planned.PoisonByte}, 4*256)}, Grid: [3]int{1, 1, 1}}
	r := rand.New(rand.NewPCG(3, 4))
	for range 24 * 24 {
		launch.Buffers["x"] = binary.LittleEndian.AppendUint32(launch.Buffers["x"], math.Float32bits(float32(r.NormFloat64())))
	}
	got := run(t, l, k, launch)["y"]
	if err := interp.Run(k, launch); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(got); i += 4 {
		x, y := math.Float32frombits(binary.LittleEndian.Uint32(got[i:])), math.Float32frombits(binary.LittleEndian.Uint32(launch.Buffers["y"][i:]))
		if d := math.Abs(float64(x - y)); d > 1e-4 || (x == x) != (y == y) {
			t.Errorf("element %d: %v, the interpreter has %v", i/4, x, y)
		}
	}
}

package cpu

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/llvm"
	"smelt.example/smelt/internal/runtime/planned"
)

// TestRecurringLoops: loops of one text, on other buffers, arrays and numbers,
// with what they add up in variables and fragments, are calls of one function and
// do what the interpreter says, to the bit: the numbers are small integers.
func TestRecurringLoops(t *testing.T) {
	l := openLLVM(t)
	const lanes, side, length = 8, 8, 64
	b := kernel.New("recurring", &kernel.StepLayout{Fields: []kernel.StepField{{Name: "T", Elem: kernel.I32}}}, kernel.Schedule{Threads: lanes, SimdWidth: lanes})
	y := b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	_, scalar := b.Scalar("n", kernel.I32)
	count := b.Let("count", b.StepValue("T").Add(kernel.I(length-1)))
	factor := b.Let("factor", kernel.Vector(kernel.F(1), kernel.F(2), kernel.F(3), kernel.F(4)))
	for part, name := range []string{"a", "b", "c"} {
		x, x4 := b.Pointer(name, kernel.Of(kernel.F32), kernel.Read), b.Pointer(name+"4", kernel.Vec(kernel.F32, 4), kernel.Read)
		array := b.SharedArray("array_"+name, kernel.F32, length)
		b.For("i", kernel.Lane(), count, kernel.I(lanes), func(i *kernel.Expr) {
			array.Set(i, x.At(i.Add(scalar)).Mul(x.At(i)).Add(x.At(i.Add(kernel.Group(0))).Sub(x.At(i.Add(kernel.I(3))))))
		})
		b.Barrier()
		// Lanes count on from numbers of their own, lie apart, agree, or do not.
		at, first := b.Let("at", kernel.Lane().Add(kernel.I(8*part))), b.Let("first", scalar.Mul(kernel.I(part)))
		own := b.Let("own", x.At(at.Rem(kernel.I(3))))
		sum, quad, same := b.Var("sum", kernel.F(float64(part))), b.Var("quad", factor), b.Var("same", kernel.F(0))
		left, right := b.Fragment("left", kernel.F32, side, side), b.Fragment("right", kernel.F32, side, side)
		acc := b.Fragment("acc", kernel.F32, side, side)
		b.For("j", kernel.I(0), kernel.I(5), kernel.I(1), func(j *kernel.Expr) {
			sum.Set(x.At(at.Add(j)).Fma(own, sum.Expr).Add(array.At(j.Add(first))))
			v := b.Let("v", x4.At(kernel.Lane().Add(j)))
			quad.Set(kernel.Vector(v.Lane(1), v.Lane(0), v.Lane(3), v.Lane(2)).Fma(factor, quad.Expr))
			same.Set(same.Add(array.At(j)))
			left.LoadBuffer(x, j, kernel.I(side-1), false)
			right.Load(array, kernel.I(0), kernel.I(side), false)
			acc.Accumulate(left, right)
		})
		to := kernel.Group(0).Mul(kernel.I(3)).Add(kernel.I(part)).Mul(kernel.I(6*lanes + side*side))
		out := b.Let("out", to.Add(kernel.Lane()))
		y.Set(out, sum.Expr)
		y.Set(out.Add(kernel.I(lanes)), same.Expr)
		for n := range 4 {
			y.Set(out.Add(kernel.I((2+n)*lanes)), quad.Lane(n))
		}
		acc.StoreBuffer(y, to.Add(kernel.I(6*lanes)), kernel.I(side))
	}
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(rand.Uint64(), 1))
	launch := interp.Launch{Buffers: map[string][]byte{}, Scalars: map[string]int32{"n": 5}, Step: []byte{1, 0, 0, 0}, Grid: [3]int{2, 1, 1}}
	launch.Buffers["y"] = bytes.Repeat([]byte{planned.PoisonByte}, 4*2*3*(6*lanes+side*side))
	for _, name := range []string{"a", "a4", "b", "b4", "c", "c4"} {
		for range 4 * 2 * length {
			launch.Buffers[name] = binary.LittleEndian.AppendUint32(launch.Buffers[name], math.Float32bits(float32(r.IntN(9)-4)))
		}
	}
	want := interp.Launch{Buffers: map[string][]byte{}, Scalars: launch.Scalars, Step: launch.Step, Grid: launch.Grid}
	for name, data := range launch.Buffers {
		want.Buffers[name] = bytes.Clone(data)
	}
	if err := interp.Run(k, want); err != nil {
		t.Fatal(err)
	}
	for _, register := range []int{4, 8, 16} {
		text, err := llvm.Module(k, register)
		if err != nil {
			t.Fatal(err)
		}
		if functions, calls := strings.Count(text, "define internal void @recurring.loop"), strings.Count(text, "call void @recurring.loop"); functions != 2 || calls != 6 {
			t.Errorf("registers of %d: %d functions of loops, called at %d places; want 2 and 6", register, functions, calls)
		}
		got := runFor(t, l, k, register, launch)["y"]
		if at := firstDifference(got, want.Buffers["y"]); at >= 0 {
			t.Errorf("registers of %d: y differs from the interpreter's at byte %d", register, at)
		}
	}
}

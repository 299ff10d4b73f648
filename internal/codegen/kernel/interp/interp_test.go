package interp

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
)

// build makes a kernel of 64 threads in SIMD groups of 32 with a buffer and a
// threadgroup array of u32.
func build(t *testing.T, body func(b *kernel.Builder, out kernel.Buffer, a kernel.Array)) *kernel.Kernel {
	t.Helper()
	b := kernel.New("test", &kernel.StepLayout{Fields: []kernel.StepField{{Name: "position", Elem: kernel.I32, Len: 2}}}, kernel.Schedule{Threads: 64, SimdWidth: 32})
	out := b.Pointer("out", kernel.Of(kernel.I32), kernel.ReadWrite)
	body(b, out, b.SharedArray("a", kernel.I32, 64))
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func run(k *kernel.Kernel) ([]int32, error) {
	buffer, step := make([]byte, 4*64), make([]byte, 8)
	binary.LittleEndian.PutUint32(step[4:], 5)
	err := Run(k, Launch{Buffers: map[string][]byte{"out": buffer}, Step: step, Grid: [3]int{1, 1, 1}})
	out := make([]int32, 64)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(buffer[4*i:]))
	}
	return out, err
}

func TestRun(t *testing.T) {
	out, err := run(build(t, func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
		sum := b.Var("sum", kernel.I(0))
		b.For("i", kernel.Thread(), kernel.I(64), kernel.I(32), func(i *kernel.Expr) { sum.Set(sum.Add(i)) })
		a.Set(kernel.Thread(), sum.Add(kernel.Lane().SimdSum()).Add(b.StepAt("position", kernel.I(1))))
		b.Barrier()
		b.If(kernel.Thread().Lt(kernel.I(63)), func() { out.Set(kernel.Thread(), a.At(kernel.Thread().Add(kernel.I(1)))) }, nil)
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 63 {
		next, want := i+1, 496+5
		want += next
		if next < 32 {
			want += next + 32
		}
		if int(out[i]) != want {
			t.Errorf("element %d is %d, want %d", i, out[i], want)
		}
	}
}

func TestFaults(t *testing.T) {
	first := kernel.Thread().Eq(kernel.I(0))
	// The verifier refuses what parts threads that must meet, so these conditions
	// are changed behind its back.
	uniform := kernel.Group(0).Eq(kernel.I(0))
	for _, c := range []struct {
		want string
		body func(b *kernel.Builder, out kernel.Buffer, a kernel.Array)
	}{
		{"which thread 0 wrote since", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			b.If(first, func() { a.Set(kernel.I(7), kernel.I(1)) }, nil)
			out.Set(kernel.Thread(), a.At(kernel.I(7)))
		}},
		{"which another read since", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			out.Set(kernel.Thread(), a.At(kernel.I(7)))
			b.If(first, func() { a.Set(kernel.I(7), kernel.I(1)) }, nil)
		}},
		{"does not reach a barrier", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) { b.If(uniform, b.Barrier, nil) }},
		{"not all lanes", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			b.If(uniform, func() { out.Set(kernel.I(0), kernel.Lane().SimdSum()) }, nil)
		}},
		{"element 64 of out", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			out.Set(kernel.Thread().Add(kernel.I(1)), kernel.I(0))
		}},
		{"element 64 of a", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			a.Set(kernel.Thread().Add(kernel.I(1)), kernel.I(0))
		}},
		{"element 2 of position", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			out.Set(kernel.Thread(), b.StepAt("position", kernel.Simd().Add(kernel.I(1))))
		}},
		{"division of -1", func(b *kernel.Builder, out kernel.Buffer, a kernel.Array) {
			out.Set(kernel.Thread(), kernel.Thread().Sub(kernel.I(1)).Div(kernel.I(2)))
		}},
	} {
		k := build(t, c.body)
		for _, s := range k.Body {
			if s, ok := s.(*kernel.If); ok && s.Cond == uniform {
				s.Cond = first
			}
		}
		_, err := run(k)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
	}
	if err := Run(build(t, func(*kernel.Builder, kernel.Buffer, kernel.Array) {}), Launch{}); err == nil {
		t.Error("a launch without its buffer ran")
	}
}

func TestHalf(t *testing.T) {
	for bits := range 1 << 16 {
		x := halfValue(uint16(bits))
		if x == x && halfBits(x) != uint16(bits) {
			t.Fatalf("%#04x is %v, which is %#04x", bits, x, halfBits(x))
		}
	}
	for x, want := range map[float32]uint16{1 + 0x1p-11: 0x3c00, 1 + 3*0x1p-11: 0x3c02, 65519: 0x7bff, 65520: 0x7c00, 0x1p-25: 0, 3 * 0x1p-26: 1, 2 - 0x1p-12: 0x4000} {
		if got := halfBits(x); got != want {
			t.Errorf("%v is %#04x, want %#04x", x, got, want)
		}
	}
}

// TestFma takes a case in which rounding to float64 and then to float32 errs:
// the sum lies just above the middle between two floats.
func TestFma(t *testing.T) {
	x, z := float32(1+0x1p-12), float32(0x1p-60)
	if got, want := fma(x, x, z), float32(1+0x1p-11+0x1p-23); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := fma(float32(math.Inf(1)), 0, 1); got == got {
		t.Errorf("inf*0+1 is %v", got)
	}
}

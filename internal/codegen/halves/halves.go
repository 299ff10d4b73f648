// Package halves has the kernel that finds out whether a machine turns IEEE halves into
// float32 exactly, the subnormal ones too. Kernels unpack small floats through halves
// only where it does (target.Target.Halves).
package halves

import (
	"encoding/binary"
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/num"
)

// Name is the kernel's.
const Name = "halves"

// Codes is how many halves there are: the kernel reads each once, two to a word, and
// writes as many float32.
const Codes = 1 << 16

// Kernel converts all halves. Its parameters are a buffer that it reads, `x`, of u32,
// and one that it writes, `y`, of f32; it runs in so many threadgroups.
func Kernel(t target.Target) (k *kernel.Kernel, groups int64, err error) {
	threads := t.Threads(256)
	b := kernel.New(Name, &kernel.StepLayout{}, kernel.Schedule{Threads: threads, SimdWidth: t.SimdWidth}, "Turns all halves into float32.")
	x, y := b.Pointer("x", kernel.Of(kernel.U32), kernel.Read), b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	at := b.Let("at", kernel.Group(0).Mul(kernel.I(threads)).Add(kernel.Thread()))
	two := b.Let("two", x.At(at).Halves())
	for i := range 2 {
		y.Set(at.Mul(kernel.I(2)).Add(kernel.I(i)), two.Lane(i))
	}
	k, err = b.Kernel()
	return k, int64(Codes / 2 / threads), err
}

// Words are what the kernel reads: all halves, in the order of their codes.
func Words() []byte {
	out := make([]byte, 0, 2*Codes)
	for code := range Codes {
		out = binary.LittleEndian.AppendUint16(out, uint16(code))
	}
	return out
}

// Judge looks at what the kernel wrote. The error says how many codes have another
// value than they should, and the first of them; any NaN stands for any other.
func Judge(out []byte) error {
	if len(out) != 4*Codes {
		return fmt.Errorf("%d bytes of halves, expected %d", len(out), 4*Codes)
	}
	wrong, first := 0, ""
	for code := range Codes {
		want := num.F16ToF32(uint16(code))
		bits := binary.LittleEndian.Uint32(out[4*code:])
		got := math.Float32frombits(bits)
		if bits == math.Float32bits(want) || got != got && want != want {
			continue
		}
		if wrong++; wrong == 1 {
			first = fmt.Sprintf("%#04x is %v, should be %v", code, got, want)
		}
	}
	if wrong == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d halves become another float32 (%s)", wrong, Codes, first)
}

package cpu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
)

// TestSums: sums over the lanes have the same bits however many are asked for in
// a row: the upper half of the lanes is added to the lower, until one is left.
func TestSums(t *testing.T) {
	l := openLLVM(t)
	r := rand.New(rand.NewPCG(rand.Uint64(), 3))
	for _, lanes := range []int{4, 8, 16, 32} {
		for _, count := range []int{1, 2, 3, 4, 7, 8, 33} {
			b := kernel.New("sums", &kernel.StepLayout{}, kernel.Schedule{Threads: lanes, SimdWidth: lanes})
			x, y := b.Pointer("x", kernel.Of(kernel.F32), kernel.Read), b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
			vars := b.Vars("v", count, kernel.F(0))
			for n, v := range vars {
				v.Set(x.At(kernel.Lane().Add(kernel.I(n * lanes))))
			}
			var sums []*kernel.Expr
			for _, v := range vars {
				sums = append(sums, b.Let("sum", v.SimdSum()))
			}
			for n, sum := range sums {
				y.Set(kernel.I(n*lanes).Add(kernel.Lane()), sum)
			}
			k, err := b.Kernel()
			if err != nil {
				t.Fatal(err)
			}
			in, want := make([]byte, 4*count*lanes), make([]float32, count)
			for n := range count {
				folded := make([]float32, lanes)
				for i := range folded {
					folded[i] = float32(r.NormFloat64())
					binary.LittleEndian.PutUint32(in[4*(n*lanes+i):], math.Float32bits(folded[i]))
				}
				for ; len(folded) > 1; folded = folded[:len(folded)/2] {
					for i := range len(folded) / 2 {
						folded[i] += folded[i+len(folded)/2]
					}
				}
				want[n] = folded[0]
			}
			for _, register := range []int{4, 8, 16} {
				launch := interp.Launch{Buffers: map[string][]byte{"x": in, "y": make([]byte, 4*count*lanes)}, Grid: [3]int{1, 1, 1}}
				out := runFor(t, l, k, register, launch)["y"]
				for i := range count * lanes {
					if got := math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:])); got != want[i/lanes] {
						t.Fatalf("%d lanes, registers of %d, sum %d of %d: lane %d has %v, want %v", lanes, register, i/lanes, count, i%lanes, got, want[i/lanes])
					}
				}
			}
		}
	}
}

package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// BenchmarkMatmul runs the prefill kernel of some of Flash's shapes, on all
// threads, and measures beside it how fast multiply-adds in registers are.
func BenchmarkMatmul(b *testing.B) {
	l := openLLVM(b)
	for _, name := range []string{"bf16", "fp8_e4m3_b128", "fp4_e2m1_g32", "affine4_g64_bf16"} {
		e, err := encoding.Parse(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range []struct{ rows, n, k int }{{12, 2048, 4096}, {512, 2048, 4096}, {512, 4096, 4096}, {512, 32768, 1024}, {2048, 4096, 4096}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, s.rows, s.n, s.k), func(b *testing.B) {
				m := newMatmul(b, l, e, s.rows, s.n, s.k)
				peak := m.fmaPeak()
				b.ResetTimer()
				for i := range b.N {
					m.run(i)
				}
				b.StopTimer()
				rate := 2 * float64(s.rows) * float64(s.n) * float64(s.k) * float64(b.N) / b.Elapsed().Seconds()
				peak = (peak + m.fmaPeak()) / 2
				b.ReportMetric(rate/1e9, "GFLOP/s")
				b.ReportMetric(100*rate/peak, "%peak")
				b.ReportMetric(peak/1e9, "GFLOP/s-peak")
			})
		}
	}
}

func newMatmul(b *testing.B, l *jit.LLVM, e encoding.Encoding, rows, n, k int) *matmul {
	m, c, fma := newProduct(b, l, e, program.Prefill, rows, 1, n, k, roofline.FMA)
	numbers := m.alloc(b, 8)
	binary.LittleEndian.PutUint32(numbers, math.Float32bits(0.999))
	binary.LittleEndian.PutUint32(numbers[4:], math.Float32bits(0.001))
	groups := 64 * runtime.GOMAXPROCS(0)
	m.bindProbe(b, fma, c, numbers, groups)
	return &matmul{m, fma.Flops * int64(groups)}
}

// matmul is a product of many rows.
type matmul struct {
	*product
	probed int64 // operations of the probe
}

// fmaPeak is operations a second.
func (m *matmul) fmaPeak() float64 { return float64(m.probed) / m.bestProbe().Seconds() }

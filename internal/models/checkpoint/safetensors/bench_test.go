package safetensors

import (
	"fmt"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/container"
)

// bigHeader is a header of n tensors with names as long as DeepSeek-V4's.
func bigHeader(n int) (header []byte, dataBytes int64) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"layers.%d.ffn.experts.%d.w%d.weight":{"dtype":"I8","shape":[2048,2048],"data_offsets":[%d,%d]}`,
			i/768, i/3%256, i%3+1, int64(i)<<22, int64(i+1)<<22)
	}
	b.WriteByte('}')
	return []byte(b.String()), int64(n) << 22
}

// BenchmarkParseHeader parses a header as long as all of V4-Flash's together.
func BenchmarkParseHeader(b *testing.B) {
	const n = 70_000
	header, dataBytes := bigHeader(n)
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		h, err := ParseHeader(header, int64(8+len(header))+dataBytes, "bench")
		if err != nil || len(h.Tensors) != n {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tensor")
}

// BenchmarkIntact looks at a file, as is done after each step.
func BenchmarkIntact(b *testing.B) {
	f := mustOpen(b, save(b, rawFile("{}", nil)))
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Intact(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGuard is what Go code pays to read bytes of a file.
func BenchmarkGuard(b *testing.B) {
	f := mustOpen(b, save(b, rawFile("{}", nil)))
	sum := byte(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := container.Guard(func() { sum ^= f.Bytes()[0] }, f); err != nil {
			b.Fatal(err)
		}
	}
}

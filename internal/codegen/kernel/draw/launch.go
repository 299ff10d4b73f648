package draw

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"

	"smelt.example/smelt/internal/codegen/kernel/interp"
)

// Launch draws what a drawn kernel of so many lanes reads, and fills what it writes.
func Launch(r *rand.Rand, lanes int, fill byte) interp.Launch {
	l := interp.Launch{Buffers: map[string][]byte{}, Scalars: map[string]int32{"n": int32(r.IntN(50))}, Grid: [3]int{3, 2, 1}}
	for name, size := range map[string]int{"out": 4, "out4": 16, "out16": 2} {
		l.Buffers[name] = bytes.Repeat([]byte{fill}, 6*12*size*lanes)
	}
	for name, n := range map[string]int{"f": 64, "f4": 256} {
		for range n {
			l.Buffers[name] = binary.LittleEndian.AppendUint32(l.Buffers[name], math.Float32bits(float32(r.NormFloat64())))
		}
	}
	for range 64 {
		l.Buffers["i"] = binary.LittleEndian.AppendUint32(l.Buffers["i"], uint32(r.IntN(64)))
		l.Buffers["b"] = append(l.Buffers["b"], byte(r.IntN(256)))
	}
	for range 17 {
		l.Step = binary.LittleEndian.AppendUint32(l.Step, uint32(r.IntN(16)))
	}
	return l
}

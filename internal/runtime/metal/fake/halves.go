package fake

import (
	"encoding/binary"
	"math"

	"smelt.example/smelt/internal/codegen/halves"
	"smelt.example/smelt/internal/ir/num"
)

// convert does what package halves' kernel does, which decides how a model is planned:
// the fake GPU runs it also where it executes nothing else.
func (r *Runtime) convert(d *Dispatch) {
	from, to := r.bufferAt(binary.LittleEndian.Uint64(d.Args)), r.bufferAt(binary.LittleEndian.Uint64(d.Args[8:]))
	if from == nil || to == nil || len(from.memory) < 2*halves.Codes || len(to.memory) < 4*halves.Codes {
		r.violate("kernel %s has no buffers for all halves", d.Kernel)
		return
	}
	for i := range halves.Codes {
		code := binary.LittleEndian.Uint16(from.memory[2*i:])
		if code&0x7c00 == 0 && r.options.FlushHalves {
			code &= 0x8000
		}
		binary.LittleEndian.PutUint32(to.memory[4*i:], math.Float32bits(num.F16ToF32(code)))
	}
}

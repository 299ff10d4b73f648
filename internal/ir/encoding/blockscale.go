package encoding

import (
	"fmt"
	"math"
	"strings"

	"smelt.example/smelt/internal/ir/num"
)

// blockScale is the type of the scales of blocks of small floats: E8M0 where it is empty, F32 or
// BF16. Releases differ in it and in nothing else.
type blockScale DType

func (s blockScale) dtype() DType {
	if s == "" {
		return E8M0
	}
	return DType(s)
}

// suffix ends the names of encodings with scales of another type than E8M0.
func (s blockScale) suffix() string {
	if s == "" {
		return ""
	}
	return "_" + strings.ToLower(string(s))
}

// plane is the scales' plane but for the sizes of blocks.
func (s blockScale) plane() planeForm {
	f := planeForm{role: Scales, dtype: s.dtype(), rowDiv: 1, colMul: 1}
	if s == "" {
		f.also, f.unhandled = U8, unhandledE8M0
	}
	return f
}

// scaleAt reads scale i of a plane.
func scaleAt[F Float](s blockScale, plane []byte, i int) F {
	if s == "" {
		return F(num.E8M0ToF32(plane[i]))
	}
	return halfAt[F](DType(s), plane, i)
}

// append adds the scale of a block to a plane: the least power of two, or the nearest number, that
// brings amax to the largest code.
func (s blockScale) append(plane []byte, amax, largest float64) ([]byte, error) {
	if s == "" {
		code, err := ceilScale(amax, largest)
		return append(plane, code), err
	}
	stored := floatBytes(DType(s), []float64{max(amax, 1e-30) / largest})
	if math.IsInf(scaleAt[float64](s, stored, 0), 0) {
		return nil, fmt.Errorf("expected magnitudes of at most %g times the largest %s, found %g", largest, s, amax)
	}
	return append(plane, stored...), nil
}

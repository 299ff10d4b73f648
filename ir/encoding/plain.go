package encoding

import (
	"encoding/binary"
	"math"
	"strings"
)

// Plain stores the values themselves, as BF16, F16, F32 or F64. Names: bf16, f16, f32, f64.
type Plain struct{ DType DType }

// Name implements [Encoding].
func (e Plain) Name() string { return strings.ToLower(string(e.DType)) }

// Planes implements [Encoding].
func (e Plain) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e Plain) form() form {
	return form{1, []planeForm{{Weight, e.DType, "", 1, 1, 1}}}
}

func (Plain) family() *family { return &plainFamily }

var plainFamily = family{
	name:     "plain",
	storedAs: "BF16, F16, F32 or F64 [N, K] alone",
	members:  []Encoding{Plain{BF16}, Plain{F16}, Plain{F32}, Plain{F64}},
	decode32: decodePlain[float32],
	decode64: decodePlain[float64],
	encode:   encodePlain,
}

func decodePlain[F Float](e Encoding, dst []F, p Planes, row int) {
	dt := e.(Plain).DType
	size, _ := dt.Size()
	src := p.Weight[row*len(dst)*size:][:len(dst)*size]
	switch dt {
	case BF16:
		decodeBF16(dst, src)
	case F16:
		for j := range dst {
			dst[j] = F(F16ToF32(binary.LittleEndian.Uint16(src[2*j:])))
		}
	case F32:
		for j := range dst {
			dst[j] = F(math.Float32frombits(binary.LittleEndian.Uint32(src[4*j:])))
		}
	case F64:
		for j := range dst {
			dst[j] = F(math.Float64frombits(binary.LittleEndian.Uint64(src[8*j:])))
		}
	}
}

// decodeBF16 takes four values per load.
func decodeBF16[F Float](dst []F, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		u := binary.LittleEndian.Uint64(src)
		d := dst[:4]
		d[0] = F(math.Float32frombits(uint32(u) << 16))
		d[1] = F(math.Float32frombits(uint32(u) &^ 0xFFFF))
		d[2] = F(math.Float32frombits(uint32(u>>32) << 16))
		d[3] = F(math.Float32frombits(uint32(u>>32) &^ 0xFFFF))
		dst, src = dst[4:], src[8:]
	}
	for j := range dst {
		dst[j] = F(BF16ToF32(binary.LittleEndian.Uint16(src[2*j:])))
	}
}

func encodePlain(e Encoding, values []float64, _, _ int) (Planes, error) {
	return Planes{Weight: floatBytes(e.(Plain).DType, values)}, nil
}

// floatBytes stores values, rounded to nearest even; BF16 goes through float32, as numpy does.
func floatBytes(dt DType, values []float64) []byte {
	le := binary.LittleEndian
	var out []byte
	for _, v := range values {
		switch dt {
		case BF16:
			out = le.AppendUint16(out, F32ToBF16(float32(v)))
		case F16:
			out = le.AppendUint16(out, F64ToF16(v))
		case F32:
			out = le.AppendUint32(out, math.Float32bits(float32(v)))
		case F64:
			out = le.AppendUint64(out, math.Float64bits(v))
		}
	}
	return out
}

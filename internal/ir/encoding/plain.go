package encoding

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"smelt.example/smelt/internal/ir/num"
)

// Plain stores the values themselves, as BF16, F16, F32 or F64. Names: bf16, f16, f32, f64.
type Plain struct{ DType DType }

// Name implements [Encoding].
func (e Plain) Name() string { return strings.ToLower(string(e.DType)) }

// Planes implements [Encoding].
func (e Plain) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e Plain) form() form {
	return form{unit: 1, planes: []planeForm{{role: Weight, dtype: e.DType, rowDiv: 1, colMul: 1, colDiv: 1}}}
}

func (Plain) family() *family { return &plainFamily }

// PlainType is the type of the values that a [Plain] encoding stores as they are; ok is false for
// other encodings.
func PlainType(e Encoding) (t DType, ok bool) {
	p, ok := e.(Plain)
	return p.DType, ok
}

var plainFamily = family{
	name:     "plain",
	storedAs: "BF16, F16, F32 or F64 [N, K] alone",
	members:  []Encoding{Plain{BF16}, Plain{F16}, Plain{F32}, Plain{F64}},
	decode32: decodePlain[float32],
	decode64: decodePlain[float64],
	encode:   encodePlain,
	unpack:   unpackPlain,
	random:   randomPlain,
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
			dst[j] = F(num.F16ToF32(binary.LittleEndian.Uint16(src[2*j:])))
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
		dst[j] = F(num.BF16ToF32(binary.LittleEndian.Uint16(src[2*j:])))
	}
}

func unpackPlain(e Encoding, by Features) (Unpack, error) {
	switch dt := e.(Plain).DType; dt {
	case F32:
		return Unpack{Elements: 1, Words: 1, Codes: []*BitExpr{bitApply(BitAsReal, Real, bitWord(0))}}, nil
	case BF16:
		return units(1, 2, 16, func(c *BitExpr) *BitExpr { return bitApply(BitAsReal, Real, c.shl(16)) }, nil, nil), nil
	case F16:
		if by.Halves {
			w := bitWord(0)
			return Unpack{Elements: 2, Words: 1, Codes: []*BitExpr{w.half(0), w.half(1)}}, nil
		}
		return units(1, 2, 16, func(c *BitExpr) *BitExpr { return c.half(0) }, nil, nil), nil
	default:
		return Unpack{}, fmt.Errorf("kernels do not read %s; convert the tensor to F32 or BF16", dt)
	}
}

// randomPlain spreads values evenly around the mean; bfloat16 has its own ways, which take no
// arithmetic.
func randomPlain(e Encoding, mean, std float64) []Random {
	switch dt := e.(Plain).DType; {
	case dt != BF16:
		return []Random{uniform(dt, mean, std)}
	case mean == 0:
		return []Random{bfloats(std)}
	}
	return []Random{bfloatsAround(mean)}
}

func encodePlain(e Encoding, values []float64, _, _ int) (Planes, error) {
	return Planes{Weight: floatBytes(e.(Plain).DType, values)}, nil
}

// floatBytes stores values, rounded to nearest even; BF16 goes through float32, as numpy does.
func floatBytes(dt DType, values []float64) []byte {
	size, _ := dt.Size()
	out := make([]byte, size*len(values))
	for i, v := range values {
		putFloat(dt, out[size*i:], v)
	}
	return out
}

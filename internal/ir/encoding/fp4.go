package encoding

import "smelt.example/smelt/internal/ir/num"

// FP4 is DeepSeek's FP4: e2m1 codes, two per byte with element 2j in the low half of byte j, and one
// scale per 32 columns. Scale is the scales' type: F32 or BF16, or empty for E8M0.
// value = code * scale. Names: fp4_e2m1_g32, fp4_e2m1_g32_f32, fp4_e2m1_g32_bf16.
type FP4 struct{ Scale DType }

// microGroup is the group of the OCP microscaling formats, which FP4 shares.
const microGroup = 32

// Name implements [Encoding].
func (e FP4) Name() string { return "fp4_e2m1_g32" + blockScale(e.Scale).suffix() }

// Planes implements [Encoding].
func (e FP4) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e FP4) form() form {
	scales := blockScale(e.Scale).plane()
	scales.colDiv = microGroup
	return form{microGroup, Setting{"fp4", 4, microGroup}, []planeForm{
		{role: Weight, dtype: I8, also: U8, rowDiv: 1, colMul: 1, colDiv: 2}, scales,
	}}
}

func (FP4) family() *family { return &fp4Family }

var fp4Family = family{
	name:     "fp4",
	storedAs: "I8 or U8 [N, K/2] with F8_E8M0, U8, F32 or BF16 scales [N, K/32]",
	members:  []Encoding{FP4{}, FP4{F32}, FP4{BF16}},
	decode32: decodeFP4[float32],
	decode64: decodeFP4[float64],
	encode: func(e Encoding, values []float64, _, _ int) (Planes, error) {
		s := blockScale(e.(FP4).Scale)
		return encodeMicro(values, 4, s, func(plane []byte, g []float64) ([]byte, error) { return s.append(plane, maxAbs(g), 6) })
	},
	unpack: func(e Encoding, by Features) (Unpack, error) {
		return e2m1.units(microScale(blockScale(e.(FP4).Scale)), by), nil
	},
	random: func(e Encoding, _, std float64) []Random { return randomMini(4, blockScale(e.(FP4).Scale), std) },
}

// microScale is a scale for each group of a row.
func microScale(s blockScale) *Factor { return &Factor{s.dtype(), microGroup, 1, nil} }

func decodeFP4[F Float](e Encoding, dst []F, p Planes, row int) {
	decodeE2M1(dst, p.Weight[row*len(dst)/2:], blockScale(e.(FP4).Scale), p.Scales, row*len(dst)/microGroup)
}

// decodeE2M1 reads one row of packed codes with a scale per microGroup columns, from the first on.
func decodeE2M1[F Float](dst []F, codes []byte, scale blockScale, scales []byte, first int) {
	for g := first; len(dst) >= microGroup; g++ {
		s := scaleAt[F](scale, scales, g)
		d, c := (*[microGroup]F)(dst), (*[microGroup / 2]byte)(codes)
		for j, b := range c {
			d[2*j] = F(num.E2M1ToF32(b&15)) * s
			d[2*j+1] = F(num.E2M1ToF32(b>>4)) * s
		}
		dst, codes = dst[microGroup:], codes[microGroup/2:]
	}
}

// encodeMicro stores groups of microGroup values as FP4 (4 bits) or FP8 (8 bits) codes of value /
// scale; add appends a group's scale to the plane.
func encodeMicro(values []float64, bits int, s blockScale, add func(plane []byte, group []float64) ([]byte, error)) (p Planes, err error) {
	code := num.F64ToE4M3
	if bits == 4 {
		code = num.F64ToE2M1
	}
	codes := make([]uint8, len(values))
	for at := 0; at < len(values); at += microGroup {
		if p.Scales, err = add(p.Scales, values[at:at+microGroup]); err != nil {
			return Planes{}, err
		}
		scale := scaleAt[float64](s, p.Scales, at/microGroup)
		for j := at; j < at+microGroup; j++ {
			codes[j] = code(values[j] / scale)
		}
	}
	p.Weight = packBits(codes, bits)
	return p, nil
}

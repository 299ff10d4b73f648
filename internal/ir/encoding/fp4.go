package encoding

import "smelt.example/smelt/internal/ir/num"

// FP4 is DeepSeek's FP4: e2m1 codes, two per byte with element 2j in the low half of byte j, and one
// E8M0 scale per 32 columns. value = code * 2^(scale-127). Name: fp4_e2m1_g32.
type FP4 struct{}

// microGroup is the group of the OCP microscaling formats, which FP4 shares.
const microGroup = 32

// Name implements [Encoding].
func (FP4) Name() string { return "fp4_e2m1_g32" }

// Planes implements [Encoding].
func (e FP4) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (FP4) form() form {
	return form{microGroup, Setting{"fp4", 4, microGroup}, []planeForm{
		{role: Weight, dtype: I8, also: U8, rowDiv: 1, colMul: 1, colDiv: 2},
		{role: Scales, dtype: E8M0, rowDiv: 1, colMul: 1, colDiv: microGroup, unhandled: unhandledE8M0},
	}}
}

func (FP4) family() *family { return &fp4Family }

var fp4Family = family{
	name:     "fp4",
	storedAs: "I8 or U8 [N, K/2] with F8_E8M0 scales [N, K/32]",
	members:  []Encoding{FP4{}},
	decode32: decodeFP4[float32],
	decode64: decodeFP4[float64],
	encode:   encodeFP4,
	unpack:   func(_ Encoding, by Features) (Unpack, error) { return e2m1.units(microScale(), by), nil },
	random:   func(_ Encoding, _, std float64) []Random { return randomMini(4, std) },
}

// microScale is a scale for each group of a row.
func microScale() *Factor { return &Factor{E8M0, microGroup, 1, nil} }

func decodeFP4[F Float](_ Encoding, dst []F, p Planes, row int) {
	decodeE2M1(dst, p.Weight[row*len(dst)/2:], p.Scales[row*len(dst)/microGroup:])
}

// decodeE2M1 reads one row of packed codes with a scale per microGroup columns.
func decodeE2M1[F Float](dst []F, codes, scales []byte) {
	for g := 0; len(dst) >= microGroup; g++ {
		s := F(num.E8M0ToF32(scales[g]))
		d, c := (*[microGroup]F)(dst), (*[microGroup / 2]byte)(codes)
		for j, b := range c {
			d[2*j] = F(num.E2M1ToF32(b&15)) * s
			d[2*j+1] = F(num.E2M1ToF32(b>>4)) * s
		}
		dst, codes = dst[microGroup:], codes[microGroup/2:]
	}
}

func encodeFP4(_ Encoding, values []float64, _, _ int) (Planes, error) {
	return encodeMicro(values, 4, func(g []float64) (uint8, error) { return ceilScale(maxAbs(g), 6) })
}

// encodeMicro stores groups of microGroup values as FP4 (4 bits) or FP8 (8 bits) codes of value /
// 2^(scale-127), with scale chosen per group.
func encodeMicro(values []float64, bits int, scale func(group []float64) (uint8, error)) (Planes, error) {
	code := num.F64ToE4M3
	if bits == 4 {
		code = num.F64ToE2M1
	}
	var p Planes
	codes := make([]uint8, len(values))
	for at := 0; at < len(values); at += microGroup {
		s, err := scale(values[at : at+microGroup])
		if err != nil {
			return Planes{}, err
		}
		p.Scales = append(p.Scales, s)
		for j := at; j < at+microGroup; j++ {
			codes[j] = code(values[j] / float64(num.E8M0ToF32(s)))
		}
	}
	p.Weight = packBits(codes, bits)
	return p, nil
}

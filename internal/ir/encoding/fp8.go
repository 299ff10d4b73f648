package encoding

import (
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// FP8Block is DeepSeek's FP8: e4m3 codes and one scale per 128 x 128 block, with blocks cut short at
// the right and lower edge. Scale is the scales' type: F32 or BF16, or empty for E8M0.
// value = code * scale. Names: fp8_e4m3_b128, fp8_e4m3_b128_f32, fp8_e4m3_b128_bf16.
type FP8Block struct{ Scale DType }

const fp8Block = 128

// Name implements [Encoding].
func (e FP8Block) Name() string { return "fp8_e4m3_b128" + blockScale(e.Scale).suffix() }

// Planes implements [Encoding].
func (e FP8Block) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (e FP8Block) form() form {
	scales := blockScale(e.Scale).plane()
	scales.rowDiv, scales.colDiv = fp8Block, fp8Block
	return form{1, Setting{"fp8", 8, fp8Block}, []planeForm{
		{role: Weight, dtype: E4M3, rowDiv: 1, colMul: 1, colDiv: 1, unhandled: unhandledE4M3}, scales,
	}}
}

func (FP8Block) family() *family { return &fp8Family }

var fp8Family = family{
	name:     "fp8",
	storedAs: "F8_E4M3 [N, K] with F8_E8M0, U8, F32 or BF16 scales [ceil(N/128), ceil(K/128)]",
	members:  []Encoding{FP8Block{}, FP8Block{F32}, FP8Block{BF16}},
	decode32: decodeFP8[float32],
	decode64: decodeFP8[float64],
	encode:   encodeFP8,
	unpack: func(e Encoding, by Features) (Unpack, error) {
		return e4m3.units(&Factor{blockScale(e.(FP8Block).Scale).dtype(), fp8Block, fp8Block, nil}, by), nil
	},
	random: func(e Encoding, _, std float64) []Random { return randomMini(8, blockScale(e.(FP8Block).Scale), std) },
}

func decodeFP8[F Float](e Encoding, dst []F, p Planes, row int) {
	decodeE4M3(dst, p.Weight[row*len(dst):], blockScale(e.(FP8Block).Scale), p.Scales, row/fp8Block*ceilDiv(len(dst), fp8Block), fp8Block)
}

// decodeE4M3 reads one row of codes with a scale per group columns, from the first on, the last group
// perhaps shorter.
func decodeE4M3[F Float](dst []F, codes []byte, scale blockScale, scales []byte, first, group int) {
	for g := first; len(dst) > 0; g++ {
		n := min(group, len(dst))
		s := scaleAt[F](scale, scales, g)
		d, c := dst[:n], codes[:n]
		for j := range d {
			d[j] = F(num.E4M3ToF32(c[j])) * s
		}
		dst, codes = dst[n:], codes[n:]
	}
}

func encodeFP8(e Encoding, values []float64, rows, cols int) (Planes, error) {
	bc := ceilDiv(cols, fp8Block)
	amax := make([]float64, ceilDiv(rows, fp8Block)*bc)
	for i, v := range values {
		b := i/cols/fp8Block*bc + i%cols/fp8Block
		amax[b] = max(amax[b], math.Abs(v))
	}
	scale := blockScale(e.(FP8Block).Scale)
	p := Planes{Weight: make([]byte, len(values))}
	for _, a := range amax {
		var err error
		if p.Scales, err = scale.append(p.Scales, a, 448); err != nil {
			return Planes{}, err
		}
	}
	for i, v := range values {
		b := i/cols/fp8Block*bc + i%cols/fp8Block
		p.Weight[i] = num.F64ToE4M3(v / scaleAt[float64](scale, p.Scales, b))
	}
	return p, nil
}

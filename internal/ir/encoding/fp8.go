package encoding

import (
	"math"

	"smelt.example/smelt/internal/ir/num"
)

// FP8Block is DeepSeek's FP8: e4m3 codes and one E8M0 scale per 128 x 128 block, with blocks cut
// short at the right and lower edge. value = code * 2^(scale-127). Name: fp8_e4m3_b128.
type FP8Block struct{}

const fp8Block = 128

// Name implements [Encoding].
func (FP8Block) Name() string { return "fp8_e4m3_b128" }

// Planes implements [Encoding].
func (e FP8Block) Planes(rows, cols int) ([]Plane, error) { return planes(e, rows, cols) }

func (FP8Block) form() form {
	return form{1, Setting{"fp8", 8, fp8Block}, []planeForm{
		{role: Weight, dtype: E4M3, rowDiv: 1, colMul: 1, colDiv: 1, unhandled: unhandledE4M3},
		{role: Scales, dtype: E8M0, also: U8, rowDiv: fp8Block, colMul: 1, colDiv: fp8Block, unhandled: unhandledE8M0},
	}}
}

func (FP8Block) family() *family { return &fp8Family }

var fp8Family = family{
	name:     "fp8",
	storedAs: "F8_E4M3 [N, K] with F8_E8M0 or U8 scales [ceil(N/128), ceil(K/128)]",
	members:  []Encoding{FP8Block{}},
	decode32: decodeFP8[float32],
	decode64: decodeFP8[float64],
	encode:   encodeFP8,
	unpack: func(_ Encoding, by Features) (Unpack, error) {
		return e4m3.units(&Factor{E8M0, fp8Block, fp8Block, nil}, by), nil
	},
	random: func(_ Encoding, _, std float64) []Random { return randomMini(8, std) },
}

func decodeFP8[F Float](_ Encoding, dst []F, p Planes, row int) {
	scales := p.Scales[row/fp8Block*ceilDiv(len(dst), fp8Block):]
	decodeE4M3(dst, p.Weight[row*len(dst):], scales, fp8Block)
}

// decodeE4M3 reads one row of codes with a scale per group columns, the last group perhaps shorter.
func decodeE4M3[F Float](dst []F, codes, scales []byte, group int) {
	for g := 0; len(dst) > 0; g++ {
		n := min(group, len(dst))
		s := F(num.E8M0ToF32(scales[g]))
		d, c := dst[:n], codes[:n]
		for j := range d {
			d[j] = F(num.E4M3ToF32(c[j])) * s
		}
		dst, codes = dst[n:], codes[n:]
	}
}

func encodeFP8(_ Encoding, values []float64, rows, cols int) (Planes, error) {
	bc := ceilDiv(cols, fp8Block)
	amax := make([]float64, ceilDiv(rows, fp8Block)*bc)
	for i, v := range values {
		b := i/cols/fp8Block*bc + i%cols/fp8Block
		amax[b] = max(amax[b], math.Abs(v))
	}
	p := Planes{Weight: make([]byte, len(values)), Scales: make([]byte, len(amax))}
	for b, a := range amax {
		s, err := ceilScale(a, 448)
		if err != nil {
			return Planes{}, err
		}
		p.Scales[b] = s
	}
	for i, v := range values {
		b := i/cols/fp8Block*bc + i%cols/fp8Block
		p.Weight[i] = num.F64ToE4M3(v / float64(num.E8M0ToF32(p.Scales[b])))
	}
	return p, nil
}

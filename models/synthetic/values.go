package synthetic

import (
	"encoding/binary"
	"math"
	"slices"

	"smelt/ir/encoding"
)

// A generator makes a tensor's bytes. Every unit bytes depend only on the key
// and their place, so that a tensor can be cut between goroutines anywhere a
// unit begins.
type generator interface {
	// unit is a multiple of 8.
	unit() int64
	// fill writes dst, which begins at byte at of the tensor.
	fill(dst []byte, key uint64, at int64)
}

// generators gives each plane of an encoding its values, so that the decoded
// matrix has about the mean and the standard deviation asked for. The mean is
// 0 or, in plain encodings, any.
func generators(e encoding.Encoding, mean, std float64) []generator {
	switch e := e.(type) {
	case encoding.FP8Block:
		codes := rms(0x7f, func(c int) float64 { return float64(encoding.E4M3ToF32(uint8(c))) })
		return []generator{lanes{keep: ^uint64(0), noNaN: true}, scalesFor(std / codes)}
	case encoding.FP4:
		codes := rms(8, func(c int) float64 { return float64(encoding.E2M1ToF32(uint8(c))) })
		return []generator{lanes{keep: ^uint64(0)}, scalesFor(std / codes)}
	case encoding.Affine:
		s := affineScales(e, std)
		return []generator{lanes{keep: ^uint64(0)}, s, biases{scales: s, factor: -float32(centre(e))}}
	case encoding.Plain:
		switch {
		case e.DType == encoding.F32:
			return []generator{floats{mean, std}}
		case mean == 0:
			return []generator{bfloats(std)}
		}
		return []generator{bfloatsAround(mean)}
	}
	panic("synthetic: no values for " + e.Name()) // the classes name no other
}

// lanes are random words with some bits fixed: word & keep + add, lane by lane
// without carries between lanes.
type lanes struct {
	keep, add uint64
	noNaN     bool // of e4m3: 0x7f becomes 0x7e
}

func (lanes) unit() int64 { return 8 }

func (l lanes) fill(dst []byte, key uint64, at int64) {
	counter := key + uint64(at/8)*weyl
	n := len(dst) / 8 * 8
	whole := dst[:n]
	if l.noNaN {
		for ; len(whole) >= 8; whole = whole[8:] {
			binary.LittleEndian.PutUint64(whole, withoutNaN(mix(counter)&l.keep+l.add))
			counter += weyl
		}
	} else {
		for ; len(whole) >= 8; whole = whole[8:] {
			binary.LittleEndian.PutUint64(whole, mix(counter)&l.keep+l.add)
			counter += weyl
		}
	}
	if n < len(dst) {
		var last [8]byte
		l.fill(last[:], counter, 0)
		copy(dst[n:], last[:])
	}
}

const (
	bytes1 = 0x0101010101010101
	words1 = 0x0001000100010001
	// weyl is odd, so that its multiples go through all words; its bits are
	// those of the golden ratio.
	weyl = 0x9e3779b97f4a7c15
)

// mix is a bijection whose every output bit depends on every input bit: the
// finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// withoutNaN clears the lowest bit of bytes whose low seven bits are set.
func withoutNaN(w uint64) uint64 {
	full := (w&(0x7f*bytes1) + bytes1) & (0x80 * bytes1) // bit 7 where all seven are
	return w &^ (full >> 7)
}

// scalesFor are E8M0 scales of about the size given, two neighbouring powers
// of two so that a scale read from the wrong place shows.
func scalesFor(size float64) lanes {
	upper := 127 + exponent(size/math.Sqrt((1+0.25)/2))
	return lanes{keep: bytes1, add: uint64(upper-1) * bytes1}
}

// rms is the root of the mean square of f(0) to f(n-1).
func rms(n int, f func(int) float64) float64 {
	sum := 0.0
	for i := range n {
		sum += f(i) * f(i)
	}
	return math.Sqrt(sum / float64(n))
}

// exponent is the nearest power of two's.
func exponent(x float64) int { return int(math.Round(math.Log2(x))) }

// bfloats are bf16 of either sign in four binades.
func bfloats(std float64) lanes {
	const keep = 0x81ff // sign, two bits of exponent, mantissa
	size := rms(0x200, func(code int) float64 { return float64(encoding.BF16ToF32(127<<7 + uint16(code))) })
	return lanes{keep: keep * words1, add: uint64(127+exponent(std/size)) << 7 * words1}
}

// bfloatsAround are the 32 values of bf16 nearest to a power of two.
func bfloatsAround(mean float64) lanes {
	return lanes{keep: 0x1f * words1, add: (uint64(encoding.F32ToBF16(float32(mean))) - 0x10) * words1}
}

// affineScales have three bits of mantissa: times a centre of few bits they are
// exact in bf16, and the values' mean is 0.
func affineScales(e encoding.Affine, std float64) lanes {
	codes := rms(1<<e.Bits, func(c int) float64 { return float64(c) - centre(e) })
	mantissas := rms(8, func(m int) float64 { return 1 + float64(m)/8 })
	return lanes{keep: 0x70 * words1, add: uint64(127+exponent(std/(codes*mantissas))) << 7 * words1}
}

// centre is the mean code.
func centre(e encoding.Affine) float64 { return float64(int(1)<<e.Bits-1) / 2 }

// biases are the bf16 scales made from the same key, times a factor.
type biases struct {
	scales lanes
	factor float32
}

func (b biases) unit() int64 { return b.scales.unit() }

func (b biases) fill(dst []byte, key uint64, at int64) {
	b.scales.fill(dst, key, at)
	for ; len(dst) >= 2; dst = dst[2:] {
		s := encoding.BF16ToF32(binary.LittleEndian.Uint16(dst))
		binary.LittleEndian.PutUint16(dst, encoding.F32ToBF16(s*b.factor))
	}
}

// floats are float32, uniform around a mean.
type floats struct{ mean, std float64 }

func (floats) unit() int64 { return 8 }

func (f floats) fill(dst []byte, key uint64, at int64) {
	half := f.std * math.Sqrt(3) // of the interval
	for i := range len(dst) / 4 {
		word := mix(key + (uint64(at/8)+uint64(i/2))*weyl)
		u := float64(int32(word>>(i%2*32))) * 0x1p-31 // from -1 to 1
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(f.mean+half*u)))
	}
}

// idTable is I64 rows of different expert ids.
type idTable struct{ experts, chosen int }

func (t idTable) unit() int64 { return int64(8 * t.chosen) }

func (t idTable) fill(dst []byte, key uint64, at int64) {
	size := int(t.unit())
	row := uint64(at) / uint64(size)
	ids := make([]uint64, 0, t.chosen)
	for ; len(dst) >= size; dst = dst[size:] {
		ids = ids[:0]
		for counter := mix(key + row*weyl); len(ids) < t.chosen; counter += weyl {
			id := mix(counter) % uint64(t.experts)
			if !slices.Contains(ids, id) {
				binary.LittleEndian.PutUint64(dst[8*len(ids):], id)
				ids = append(ids, id)
			}
		}
		row++
	}
}

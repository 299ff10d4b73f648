package encoding

import (
	"encoding/binary"
	"math"
	"slices"

	"smelt.example/smelt/internal/ir/num"
)

// Random says how evenly distributed random words become the bytes of a plane. Word i of the plane,
// eight bytes little-endian, is random & Keep[i%n] + Add[i%n], where n is the length of both, changed
// by Then unless it is nil. Then works in place on some of the words, wherever they lie.
type Random struct {
	Keep, Add []uint64
	Then      func(words []byte)
}

// RandomPlanes gives a random matrix's planes, in the order of [Encoding.Planes], such that decoded
// values have about that standard deviation and the mean 0, or in a [Plain] encoding any mean. No
// value is NaN or infinite. Biases are made of the random words that the scales are made of.
func RandomPlanes(e Encoding, mean, std float64) []Random { return e.family().random(e, mean, std) }

const (
	bytes1 = 0x0101010101010101
	words1 = 0x0001000100010001
)

// lanes keeps some bits of every word and adds others, lane by lane without carries between lanes.
func lanes(keep, add uint64) Random { return Random{Keep: []uint64{keep}, Add: []uint64{add}} }

func anyBits() Random { return lanes(^uint64(0), 0) }

// randomMini are all codes of e4m3 (8 bits) but NaN, or of e2m1 (4 bits), with scales of a type.
func randomMini(bits int, scale blockScale, std float64) []Random {
	scales := powersAround
	if scale != "" {
		scales = func(size float64) Random { return scalesAround(DType(scale), size) }
	}
	if bits == 4 {
		size := rms(8, func(c int) float64 { return float64(num.E2M1ToF32(uint8(c))) })
		return []Random{anyBits(), scales(std / size)}
	}
	codes := anyBits()
	codes.Then = func(words []byte) {
		for ; len(words) >= 8; words = words[8:] {
			binary.LittleEndian.PutUint64(words, withoutNaN(binary.LittleEndian.Uint64(words)))
		}
	}
	size := rms(0x7f, func(c int) float64 { return float64(num.E4M3ToF32(uint8(c))) })
	return []Random{codes, scales(std / size)}
}

// withoutNaN clears the lowest bit of bytes whose low seven bits are set.
func withoutNaN(w uint64) uint64 {
	full := (w&(0x7f*bytes1) + bytes1) & (0x80 * bytes1) // bit 7 where all seven are
	return w &^ (full >> 7)
}

// powersAround are E8M0 scales of about the size given, two neighbouring powers of two so that a
// scale read from the wrong place shows.
func powersAround(size float64) Random {
	upper := 127 + exponent(size/math.Sqrt((1+0.25)/2))
	return lanes(bytes1, uint64(upper-1)*bytes1)
}

// scalesAround are positive numbers of a type (BF16, F16 or F32) of about the size given, with three
// bits of mantissa.
func scalesAround(dt DType, size float64) Random {
	e := exponent(size / rms(8, func(m int) float64 { return 1 + float64(float64(m)/8) }))
	switch dt {
	case F16:
		return lanes(7<<7*words1, uint64(15+e)<<10*words1)
	case F32:
		return lanes(7<<20*(1|1<<32), uint64(127+e)<<23*(1|1<<32))
	}
	return lanes(7<<4*words1, uint64(127+e)<<7*words1)
}

// bfloats are bf16 of either sign in four binades.
func bfloats(std float64) Random {
	const keep = 0x81ff // sign, two bits of exponent, mantissa
	size := rms(0x200, func(code int) float64 { return float64(num.BF16ToF32(127<<7 + uint16(code))) })
	return lanes(keep*words1, uint64(127+exponent(std/size))<<7*words1)
}

// bfloatsAround are the 32 values of bf16 nearest to a power of two.
func bfloatsAround(mean float64) Random {
	return lanes(0x1f*words1, (uint64(num.F32ToBF16(float32(mean)))-0x10)*words1)
}

// uniform are floats of two, four or eight bytes, evenly spread around a mean.
func uniform(dt DType, mean, std float64) Random {
	size, _ := dt.Size()
	half := std * math.Sqrt(3) // of the interval
	r := anyBits()
	r.Then = func(words []byte) {
		for ; len(words) >= size; words = words[size:] {
			u := 0.0 // from -1 to 1
			switch le := binary.LittleEndian; size {
			case 2:
				u = float64(int16(le.Uint16(words))) * 0x1p-15
			case 4:
				u = float64(int32(le.Uint32(words))) * 0x1p-31
			default:
				u = float64(int64(le.Uint64(words))) * 0x1p-63
			}
			putFloat(dt, words, mean+float64(half*u))
		}
	}
	return r
}

// blocks repeats a block of an even number of bytes until it fills words.
func blocks(keep, add []byte) (r Random) {
	words := func(block []byte) (out []uint64) {
		all := block
		for len(all)%8 != 0 {
			all = append(slices.Clip(all), block...)
		}
		for ; len(all) > 0; all = all[8:] {
			out = append(out, binary.LittleEndian.Uint64(all))
		}
		return out
	}
	return Random{Keep: words(keep), Add: words(add)}
}

// multiply replaces values of a type (BF16, F16 or F32) by their products with a factor.
func multiply(dt DType, values []byte, by float32) {
	le := binary.LittleEndian
	if dt == F32 {
		for ; len(values) >= 4; values = values[4:] {
			le.PutUint32(values, math.Float32bits(by*math.Float32frombits(le.Uint32(values))))
		}
		return
	}
	to32, to16 := num.BF16ToF32, num.F32ToBF16
	if dt == F16 {
		to32, to16 = num.F16ToF32, num.F32ToF16
	}
	for ; len(values) >= 2; values = values[2:] {
		le.PutUint16(values, to16(by*to32(le.Uint16(values))))
	}
}

// putFloat stores one value at the start of b.
func putFloat(dt DType, b []byte, v float64) {
	switch le := binary.LittleEndian; dt {
	case BF16:
		le.PutUint16(b, num.F32ToBF16(float32(v)))
	case F16:
		le.PutUint16(b, num.F64ToF16(v))
	case F32:
		le.PutUint32(b, math.Float32bits(float32(v)))
	case F64:
		le.PutUint64(b, math.Float64bits(v))
	}
}

// rms is the root of the mean square of f(0) to f(n-1).
func rms(n int, f func(int) float64) float64 {
	sum := 0.0
	for i := range n {
		x := f(i)
		sum += float64(x * x)
	}
	return math.Sqrt(sum / float64(n))
}

// exponent is the nearest power of two's.
func exponent(x float64) int { return int(math.Round(math.Log2(x))) }

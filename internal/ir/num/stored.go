package num

import "math"

// BF16ToF32 is exact: a bfloat16 is the upper half of a float32.
func BF16ToF32(u uint16) float32 { return math.Float32frombits(uint32(u) << 16) }

// F32ToBF16 rounds to nearest, ties to even, and overflows to infinity. Every NaN becomes 0x7FC0.
func F32ToBF16(x float32) uint16 {
	if x != x {
		return 0x7FC0
	}
	u := math.Float32bits(x)
	return uint16((u + 0x7FFF + u>>16&1) >> 16)
}

// F64ToBF16 is [F32ToBF16] from a float64, with one rounding only.
func F64ToBF16(x float64) uint16 {
	f := float32(x)
	if x != x || float64(f) == x {
		return F32ToBF16(f)
	}
	// Round to odd first: cut off, and set the last bit because something was
	// cut off. What is cut off can then not make or hide a tie.
	u := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		u--
	}
	return F32ToBF16(math.Float32frombits(u | 1))
}

// F16ToF32 is exact. A NaN keeps its payload.
func F16ToF32(h uint16) float32 {
	sign, mag := uint32(h&0x8000)<<16, uint32(h&0x7FFF)
	switch {
	case mag < 0x0400: // zero or subnormal: a count of 2^-24
		return math.Float32frombits(math.Float32bits(float32(mag)*0x1p-24) | sign)
	case mag < 0x7C00:
		return math.Float32frombits(mag<<13 + (127-15)<<23 | sign)
	}
	return math.Float32frombits(mag<<13 | 0x7F800000 | sign)
}

// F32ToF16 rounds to nearest, ties to even, keeps subnormals and overflows to infinity. A NaN
// becomes the quiet NaN of its sign.
func F32ToF16(x float32) uint16 { return F64ToF16(float64(x)) }

// F64ToF16 is [F32ToF16] from a float64, with one rounding only.
func F64ToF16(x float64) uint16 {
	sign := uint16(math.Float64bits(x) >> 48 & 0x8000)
	a := math.Abs(x)
	switch {
	case x != x:
		return sign | 0x7E00
	case a >= 65520: // half way between the largest half, 65504, and the next power of two
		return sign | 0x7C00
	case a < 0x1p-14:
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	return sign | uint16(roundedCode(a, 10, 15))
}

// roundedCode is exponent and mantissa field, as one number, of a positive a that is normal in a
// format with the given mantissa width and exponent bias. A mantissa that rounds up to the next
// power of two carries into the exponent, so the result is the nearest code, ties to even.
func roundedCode(a float64, mantissa, bias int) int {
	f, e := math.Frexp(a) // a = f * 2^e, f in [0.5, 1)
	one := 1 << mantissa
	m := int(math.RoundToEven(f * float64(2*one)))
	return (e-1+bias)<<mantissa + m - one
}

// E4M3ToF32 is the value of an FP8 e4m3fn code: bias 7, largest 448, no infinities, 0x7F and 0xFF
// are NaN (OCP 8-bit floating point, 2023).
func E4M3ToF32(c uint8) float32 { return e4m3Values[c] }

// F64ToE4M3 rounds to the nearest code, ties to even. Magnitudes above 448 become 448, NaN the NaN
// of its sign.
func F64ToE4M3(x float64) uint8 {
	sign := uint8(math.Float64bits(x) >> 56 & 0x80)
	a := math.Abs(x)
	switch {
	case x != x:
		return sign | 0x7F
	case a >= 448:
		return sign | 0x7E
	case a < 0x1p-6:
		return sign | uint8(math.RoundToEven(a*0x1p9))
	}
	return sign | uint8(roundedCode(a, 3, 7))
}

// E2M1ToF32 is the value of an FP4 e2m1 code, its low four bits: 0 0.5 1 1.5 2 3 4 6, bit 3 is the
// sign, no infinities or NaN (OCP microscaling formats, 2023).
func E2M1ToF32(c uint8) float32 { return e2m1Values[c&15] }

// F64ToE2M1 rounds to the nearest code, ties to even. Magnitudes above 6 become 6; so does NaN,
// which the format cannot hold.
func F64ToE2M1(x float64) uint8 {
	sign := uint8(math.Float64bits(x) >> 60 & 8)
	a := math.Abs(x)
	switch {
	case !(a < 6):
		return sign | 7
	case a < 1:
		return sign | uint8(math.RoundToEven(a*2))
	}
	return sign | uint8(roundedCode(a, 1, 1))
}

// E8M0ToF32 is 2^(s-127), exactly (s = 0 is a subnormal float32); 255 is NaN.
func E8M0ToF32(s uint8) float32 {
	switch s {
	case 0:
		return 0x1p-127
	case 255:
		return float32(math.NaN())
	}
	return math.Float32frombits(uint32(s) << 23)
}

var (
	e4m3Values = func() (t [256]float32) {
		for c := range t {
			t[c] = smallFloat(c, 3, 4, 7)
		}
		t[0x7F] = float32(math.NaN())
		t[0xFF] = t[0x7F]
		return t
	}()
	e2m1Values = func() (t [16]float32) {
		for c := range t {
			t[c] = smallFloat(c, 1, 2, 1)
		}
		return t
	}()
)

// smallFloat is the value of a code without infinities: sign, exponent, mantissa from the top.
func smallFloat(code, mantissa, exponent, bias int) float32 {
	m := code & (1<<mantissa - 1)
	e := code >> mantissa & (1<<exponent - 1)
	if e == 0 {
		e = 1
	} else {
		m |= 1 << mantissa
	}
	v := float32(math.Ldexp(float64(m), e-bias-mantissa))
	if code>>(mantissa+exponent)&1 != 0 {
		return -v
	}
	return v
}

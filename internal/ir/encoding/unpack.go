package encoding

import "math"

// Unpack says how a kernel turns stored words into values: a unit, the
// smallest whole number of 32-bit little-endian words of the weight plane that
// holds whole codes, gives Elements codes in column order. Element i's value is
// Codes[i] * 2^(Exponents[i]+Exponent) * scale + bias, with the factors of the
// element's group. A row is units one after another or, with a Block, blocks
// that hold units and their factors.
//
// Where a product takes many rows of a matrix with one vector, powers of two are
// best left out of the codes: 2^Exponents[i] goes into the vector and 2^Exponent
// into the sum of a unit's products, both exactly.
//
// Exponent is 0 where there is a bias, which does not have it.
//
// NaN codes of e4m3 and E8M0 are taken for ordinary ones, and an E8M0 scale
// of 0 (2^-127) for zero; Decode has them exactly.
type Unpack struct {
	Elements int
	Words    int
	Codes    []*BitExpr // of type Real, one for each element
	// Exponents are nil if all are 0.
	Exponents []int
	Exponent  int
	Scale     *Factor // nil if there is none
	Bias      *Factor
	Block     *Block // nil if units lie one after another
}

// ExponentOf is Exponents[i], 0 if there are none.
func (u *Unpack) ExponentOf(i int) int {
	if u.Exponents == nil {
		return 0
	}
	return u.Exponents[i]
}

// Factor is the scales or the biases: one for each Group columns of each
// GroupRows rows. They are a plane whose rows have ceil(cols/Group) of them or,
// with a Value, lie in blocks.
type Factor struct {
	DType            DType
	Group, GroupRows int
	Value            *BitExpr // of type Real: a unit's, over its block; nil with a plane
}

// Block is Units units, stored with their factors as Shorts little-endian
// 16-bit words. Rows begin and end with a block.
type Block struct {
	Shorts, Units int
	Words         []*BitExpr // of type Bits: a unit's, over its block
}

// Features says what a target is quick at besides arithmetic on 32 bits. None of it
// makes a float32 subnormal: targets flush it, or take a hundred times as long.
type Features struct {
	// Halves become float32 in an instruction or two, those that are subnormal
	// as halves too. Small floats are put into them, and integers left at their
	// place in the word: powers of two stay out of the codes.
	Halves bool
	// E2M1: such codes become float32 in an instruction.
	E2M1 bool
}

// UnpackOf gives an encoding's unpacking by some means. It fails for F64, which
// kernels do not read.
func UnpackOf(e Encoding, by Features) (Unpack, error) { return e.family().unpack(e, by) }

// units is an unpacking of codes of some bits that lie behind each other.
func units(words, elements, bits int, value func(code *BitExpr) *BitExpr, scale, bias *Factor) Unpack {
	u := Unpack{Elements: elements, Words: words, Scale: scale, Bias: bias}
	for i := range elements {
		u.Codes = append(u.Codes, value(codeAt(i*bits, bits)))
	}
	return u
}

// codeAt is the code whose lowest bit is bit `at` of the unit; it may lie in two words.
func codeAt(at, bits int) *BitExpr {
	w, shift := at/32, at%32
	mask := uint32(1)<<bits - 1
	code := bitWord(w).shr(shift)
	switch {
	case shift+bits > 32:
		return bitApply(BitOr, Bits, code, bitWord(w+1).shl(32-shift)).and(mask)
	case shift+bits == 32:
		return code
	}
	return code.and(mask)
}

func integerValue(code *BitExpr) *BitExpr { return bitApply(BitToReal, Real, code) }

// integersInPlace reads integers without moving them to the lowest bits, but for
// the highest, which would be a sign.
func integersInPlace(u *Unpack, bits int) {
	u.Exponents = make([]int, u.Elements)
	for i := range u.Elements - 1 {
		u.Codes[i] = integerValue(bitWord(0).and((1<<bits - 1) << (i * bits)))
		u.Exponents[i] = -i * bits
	}
}

// miniFloat is a small float: a sign, an exponent with that bias and a mantissa.
type miniFloat struct{ bits, mantissa, bias int }

var (
	e4m3 = miniFloat{8, 3, 7}
	e2m1 = miniFloat{4, 1, 1}
)

// units is the unpacking of a word of such floats.
func (m miniFloat) units(scale *Factor, by Features) Unpack {
	switch {
	case by.E2M1 && m == e2m1:
		u := Unpack{Elements: 32 / m.bits, Words: 1, Scale: scale}
		for i := range u.Elements {
			u.Codes = append(u.Codes, bitApply(BitE2M1, Real, bitWord(0).shr(i*m.bits)))
		}
		return u
	case by.Halves:
		return m.halves(scale)
	}
	return units(1, 32/m.bits, m.bits, m.value, scale, nil)
}

// value places exponent and mantissa in a float32. A code with exponent 0 is a
// subnormal: it is read as if it had a leading one, which is then taken away, so
// that no float32 subnormal appears: targets may flush it.
func (m miniFloat) value(code *BitExpr) *BitExpr {
	low := m.bits - 1 // bits below the sign
	magnitude := code.and(1<<low - 1)
	subnormal := bitApply(BitLess, Truth, magnitude, bitConst(1<<m.mantissa))
	exponent := uint32(127-m.bias) << 23
	base := bitApply(BitSelect, Bits, subnormal, bitConst(exponent+1<<23), bitConst(exponent))
	v := bitApply(BitAsReal, Real, bitApply(BitAdd, Bits, magnitude.shl(23-m.mantissa), base))
	one := float32(math.Ldexp(1, 1-m.bias))
	v = bitApply(BitSub, Real, v, bitApply(BitSelect, Real, subnormal, bitReal(one), bitReal(0)))
	positive := bitApply(BitLess, Truth, code, bitConst(1<<low))
	return bitApply(BitMul, Real, v, bitApply(BitSelect, Real, positive, bitReal(1), bitReal(-1)))
}

// halves is the unpacking of a word two codes at a time, half a word apart: sign
// and magnitude go to the top of an IEEE half each, whose exponent is then too
// small by the difference of the biases.
func (m miniFloat) halves(scale *Factor) Unpack {
	const bits, mantissa, bias = 16, 10, 15
	u := Unpack{Elements: 32 / m.bits, Words: 1, Codes: make([]*BitExpr, 32/m.bits), Exponent: bias - m.bias, Scale: scale}
	magnitude := uint32(1<<(m.bits-1)-1) << (mantissa - m.mantissa)
	for i := range bits / m.bits {
		top := bitWord(0).shl(bits - (i+1)*m.bits).and(1<<(bits-1) | 1<<(2*bits-1))
		rest := bitWord(0).move(mantissa - m.mantissa - i*m.bits).and(magnitude | magnitude<<bits)
		pair := bitApply(BitOr, Bits, top, rest)
		u.Codes[i], u.Codes[i+bits/m.bits] = pair.half(0), pair.half(1)
	}
	return u
}

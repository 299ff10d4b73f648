package encoding

import (
	"fmt"
	"math"
)

// Unpack says how a kernel turns stored words into values: a unit, the
// smallest whole number of 32-bit little-endian words of the weight plane that
// holds whole codes, gives Elements codes in column order. Element i's value is
// Codes[i] * 2^(Exponents[i]+Exponent) * scale + bias, with the factors of the
// element's group.
//
// Where a product takes many rows of a matrix with one vector, powers of two are
// best left out of the codes: 2^Exponents[i] goes into the vector and 2^Exponent
// into the sum of a unit's products, both exactly.
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
}

// Factor is a plane of scales or biases: one for each Group columns of each
// GroupRows rows; a stored row has ceil(cols/Group).
type Factor struct {
	DType            DType
	Group, GroupRows int
}

// UnpackOf gives an encoding's unpacking. It fails for F64, which kernels do
// not read. inPlace leaves powers of two out of the codes, which then take fewer
// operations; it needs a target that keeps float32 subnormals.
func UnpackOf(e Encoding, inPlace bool) (Unpack, error) {
	switch e := e.(type) {
	case Plain:
		return unpackPlain(e)
	case FP8Block:
		return e4m3.units(&Factor{E8M0, fp8Block, fp8Block}, inPlace), nil
	case FP4:
		return e2m1.units(&Factor{E8M0, microGroup, 1}, inPlace), nil
	case MX:
		if e.Bits == 8 {
			return e4m3.units(&Factor{E8M0, microGroup, 1}, inPlace), nil
		}
		return e2m1.units(&Factor{E8M0, microGroup, 1}, inPlace), nil
	case Affine:
		words := e.Bits
		for words%2 == 0 {
			words /= 2
		}
		f := &Factor{e.Scale, e.Group, 1}
		u := units(words, 32*words/e.Bits, e.Bits, integerValue, f, f)
		if inPlace && words == 1 {
			integersInPlace(&u, e.Bits)
		}
		return u, nil
	}
	return Unpack{}, fmt.Errorf("no kernel unpacks %s", e.Name())
}

func unpackPlain(e Plain) (Unpack, error) {
	switch e.DType {
	case F32:
		return Unpack{Elements: 1, Words: 1, Codes: []*BitExpr{bitApply(BitAsReal, Real, bitWord(0))}}, nil
	case BF16:
		return units(1, 2, 16, func(c *BitExpr) *BitExpr { return bitApply(BitAsReal, Real, c.shl(16)) }, nil, nil), nil
	case F16:
		return units(1, 2, 16, func(c *BitExpr) *BitExpr { return bitApply(BitHalf, Real, c) }, nil, nil), nil
	}
	return Unpack{}, fmt.Errorf("kernels do not read %s; convert the tensor to F32 or BF16", e.DType)
}

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
func (m miniFloat) units(scale *Factor, inPlace bool) Unpack {
	u := units(1, 32/m.bits, m.bits, m.value, scale, nil)
	if !inPlace {
		return u
	}
	u.Exponents = make([]int, u.Elements)
	for i := range u.Codes {
		u.Codes[i] = m.inPlace(i)
		u.Exponents[i] = 64
	}
	u.Exponent = 127 - m.bias - 64
	return u
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

// inPlace is code i of a word with its bits as a float32's, whose exponent is
// too small by 127 less the bias: moved up to the sign bit, and down behind as
// many copies of the sign as there are exponent bits more, which are cut out.
func (m miniFloat) inPlace(i int) *BitExpr {
	down := 8 - (m.bits - 1 - m.mantissa)
	magnitude := uint32(1<<(m.bits-1)-1) << (23 - m.mantissa)
	return bitApply(BitAsReal, Real, bitWord(0).shl(32-(i+1)*m.bits).sar(down).and(1<<31|magnitude))
}

package encoding

import (
	"fmt"
	"math"
)

// Unpack says how a kernel turns stored words into values: a unit, the
// smallest whole number of 32-bit little-endian words of the weight plane that
// holds whole codes, gives Elements values in column order. The matrix's value
// is Values * scale + bias, with the factors of the element's group.
//
// NaN codes of e4m3 and E8M0 are taken for ordinary ones, and an E8M0 scale
// of 0 (2^-127) for zero; Decode has them exactly.
type Unpack struct {
	Elements int
	Words    int
	Codes    []*BitExpr // of type Real, one for each element
	Scale    *Factor    // nil if there is none
	Bias     *Factor
}

// Factor is a plane of scales or biases: one for each Group columns of each
// GroupRows rows; a stored row has ceil(cols/Group).
type Factor struct {
	DType            DType
	Group, GroupRows int
}

// UnpackOf gives an encoding's unpacking. subnormals says that the target keeps
// float32 subnormals where it multiplies; small floats then take fewer
// operations. It fails for F64, which kernels do not read.
func UnpackOf(e Encoding, subnormals bool) (Unpack, error) {
	e4m3Value, e2m1Value := miniFloat(7, 3, 7), miniFloat(3, 1, 1)
	if subnormals {
		e4m3Value, e2m1Value = scaledFloat(7, 3, 7), scaledFloat(3, 1, 1)
	}
	switch e := e.(type) {
	case Plain:
		return unpackPlain(e)
	case FP8Block:
		return units(1, 4, 8, e4m3Value, &Factor{E8M0, fp8Block, fp8Block}, nil), nil
	case FP4:
		return units(1, 8, 4, e2m1Value, &Factor{E8M0, microGroup, 1}, nil), nil
	case MX:
		if e.Bits == 8 {
			return units(1, 4, 8, e4m3Value, &Factor{E8M0, microGroup, 1}, nil), nil
		}
		return units(1, 8, 4, e2m1Value, &Factor{E8M0, microGroup, 1}, nil), nil
	case Affine:
		words := e.Bits
		for words%2 == 0 {
			words /= 2
		}
		f := &Factor{e.Scale, e.Group, 1}
		return units(words, 32*words/e.Bits, e.Bits, integerValue, f, f), nil
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

// miniFloat reads a float with `low` bits below the sign, of which `mantissa`
// are the mantissa, and that exponent bias, by placing exponent and mantissa in
// a float32. A code with exponent 0 is a subnormal: it is read as if it had a
// leading one, which is then taken away, so that no float32 subnormal appears:
// targets may flush it.
func miniFloat(low, mantissa, bias int) func(code *BitExpr) *BitExpr {
	return func(code *BitExpr) *BitExpr {
		magnitude := code.and(1<<low - 1)
		subnormal := bitApply(BitLess, Truth, magnitude, bitConst(1<<mantissa))
		exponent := uint32(127-bias) << 23
		base := bitApply(BitSelect, Bits, subnormal, bitConst(exponent+1<<23), bitConst(exponent))
		v := bitApply(BitAsReal, Real, bitApply(BitAdd, Bits, magnitude.shl(23-mantissa), base))
		one := float32(math.Ldexp(1, 1-bias))
		v = bitApply(BitSub, Real, v, bitApply(BitSelect, Real, subnormal, bitReal(one), bitReal(0)))
		positive := bitApply(BitLess, Truth, code, bitConst(1<<low))
		return bitApply(BitMul, Real, v, bitApply(BitSelect, Real, positive, bitReal(1), bitReal(-1)))
	}
}

// scaledFloat reads the same by placing the code's bits in a float32 as they
// are, whose exponent is then too small, and multiplying.
func scaledFloat(low, mantissa, bias int) func(code *BitExpr) *BitExpr {
	scale := bitReal(float32(math.Ldexp(1, 127-bias)))
	return func(code *BitExpr) *BitExpr {
		magnitude := code.and(1<<low - 1).shl(23 - mantissa)
		sign := code.and(1 << low).shl(31 - low)
		return bitApply(BitMul, Real, bitApply(BitAsReal, Real, bitApply(BitOr, Bits, magnitude, sign)), scale)
	}
}

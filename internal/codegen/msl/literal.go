package msl

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// literal is a constant of a scalar type, and how tightly its text binds.
func literal(s kernel.Scalar, e *kernel.Expr) (text string, prec int) {
	switch s {
	case kernel.Bool:
		return strconv.FormatBool(e.Int != 0), primary
	case kernel.F32:
		return signed(float(e.Float))
	case kernel.F16:
		return "half(" + float(e.Float) + ")", primary
	case kernel.U32:
		return unsigned(uint32(e.Int)), primary
	case kernel.I32:
		if e.Int == math.MinInt32 {
			return "int(0x80000000u)", primary
		}
		return signed(strconv.FormatInt(e.Int, 10))
	case kernel.I64:
		if e.Int == math.MinInt64 {
			return "long(0x8000000000000000ul)", primary
		}
		return signed(strconv.FormatInt(e.Int, 10) + "l")
	}
	return scalarNames[s] + "(" + strconv.FormatInt(e.Int, 10) + ")", primary
}

// signed is a number as it stands among operators: a sign is an operator.
func signed(text string) (string, int) {
	if text[0] == '-' {
		return text, unary
	}
	return text, primary
}

// float is the shortest decimal that reads back as the same float.
func float(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NAN"
	case math.IsInf(v, 1):
		return "INFINITY"
	case math.IsInf(v, -1):
		return "-INFINITY"
	}
	s := strconv.FormatFloat(v, 'g', -1, 32)
	if digits, exponent, ok := strings.Cut(s, "e"); ok {
		n, _ := strconv.Atoi(exponent) // 1e-06 reads 1e-6
		return digits + "e" + strconv.Itoa(n) + "f"
	}
	if strings.Contains(s, ".") {
		return s + "f"
	}
	return s + ".0f"
}

// unsigned writes what is more likely a bit pattern than a count in hexadecimal.
func unsigned(v uint32) string {
	if v > math.MaxUint16 {
		return hexadecimal(v) + "u"
	}
	return strconv.FormatUint(uint64(v), 10) + "u"
}

// hexadecimal has 4 or 8 digits.
func hexadecimal(v uint32) string {
	if v > math.MaxUint16 {
		return fmt.Sprintf("0x%08x", v)
	}
	return fmt.Sprintf("0x%04x", v)
}

// mask writes the constant operand of a bitwise operation.
func mask(e *kernel.Expr) (text string, ok bool) {
	if e.Op != kernel.OpConst || e.Type.Lanes != 1 || e.Int <= math.MaxUint8 {
		return "", false
	}
	switch e.Type.Scalar {
	case kernel.U32:
		return hexadecimal(uint32(e.Int)) + "u", true
	case kernel.I32:
		return hexadecimal(uint32(e.Int)), true
	}
	return "", false
}

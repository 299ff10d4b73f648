package lower

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
)

// dim is a value's dimension as a number; the leading one is the step's.
func dim(v *ir.Value, axis int) int {
	n, _ := v.Type.Shape[axis].Value()
	return int(n)
}

// ceilDiv is ceil(n/k) of a size.
func ceilDiv(n ir.Expr, k int) ir.Expr { return n.Add(ir.Const(int64(k - 1))).FloorDiv(int64(k)) }

// atLeast is 1 if a size e is at least n, else 0.
func atLeast(e ir.Expr, n int) ir.Expr { return atMost(e.FloorDiv(int64(n)), 1) }

// atMost is the smaller one of a size e and n.
func atMost(e ir.Expr, n int) ir.Expr { return e.Min(ir.Const(int64(n))) }

// rowsSymbol is the symbol a value's leading dimension is.
func rowsSymbol(v *ir.Value) (name string, err error) {
	name, ok := v.Type.Shape[0].Symbol()
	if !ok {
		return "", fmt.Errorf("value %s: %s: the leading size must be a symbol", v.Ref(), v.Type)
	}
	return name, nil
}

// symbol is the name of the module's symbol of that definition.
func (in *Input) symbol(def ir.SymbolDef) (string, error) {
	for _, s := range in.Module.Symbols {
		if s.Def == def {
			return s.Name, nil
		}
	}
	return "", fmt.Errorf("the module declares no symbol %s", def)
}

// divisor is the largest divisor of n that is at most limit.
func divisor(n, limit int) int {
	for d := min(n, limit); ; d-- {
		if n%d == 0 {
			return d
		}
	}
}

// quotient is e/n of an e that is not negative: with a constant fewer, or a shift, where
// compilers would have to allow for negative ones.
func quotient(e *kernel.Expr, n int) *kernel.Expr {
	switch c, ok := lastConstant(e); {
	case ok && e.Op == kernel.OpAdd && e.Args[0].Op == kernel.OpAdd:
		if inner, ok := lastConstant(e.Args[0]); ok {
			return quotient(e.Args[0].Args[0].Add(i32(inner+c)), n)
		}
	case ok && e.Op == kernel.OpMul && c%n == 0:
		return e.Args[0].Mul(i32(c / n))
	case ok && e.Op == kernel.OpMul && n%c == 0:
		return quotient(e.Args[0], n/c)
	case ok && e.Op == kernel.OpAdd && multiple(e.Args[0], n):
		return quotient(e.Args[0], n).Add(i32(c / n))
	}
	if n&(n-1) == 0 && n > 1 {
		return e.Shr(i32(math.Ilogb(float64(n))))
	}
	return e.Div(i32(n))
}

// lastConstant is the constant that e is the product or the sum with.
func lastConstant(e *kernel.Expr) (int, bool) {
	if e.Op != kernel.OpMul && e.Op != kernel.OpAdd {
		return 0, false
	}
	c, ok := e.Args[1].Constant()
	return int(c), ok && c > 0
}

// multiple reports whether e is a product with a multiple of n.
func multiple(e *kernel.Expr, n int) bool {
	c, ok := lastConstant(e)
	return ok && e.Op == kernel.OpMul && c%n == 0
}

// roundUp is the least multiple of `to` that is at least n.
func roundUp(n *kernel.Expr, to int) *kernel.Expr {
	return n.Add(i32(to - 1)).Div(i32(to)).Mul(i32(to))
}

// planeBytes is the size of a parameter's plane.
func (in *Input) planeBytes(param string, r encoding.Role) int64 {
	p, err := in.Params.Get(param)
	if err != nil {
		return 0
	}
	planes, err := p.Encoding.Planes(p.Rows, p.Cols)
	if err != nil {
		return 0
	}
	for _, pl := range planes {
		if pl.Role == r {
			return int64(pl.Bytes())
		}
	}
	return 0
}

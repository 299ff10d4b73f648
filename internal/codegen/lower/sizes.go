package lower

import (
	"fmt"

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

package lower

import (
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// expertMatrix binds the experts' matrices. A launch touches those of the
// rows' choices: at most one for each choice, and no more than there are.
func (u *emitter) expertMatrix(name, param string, ids *ir.Value) *matrix {
	before := len(u.args)
	m := u.matrix(name, param)
	if m == nil {
		return nil
	}
	rows, _ := rowsSymbol(ids)
	choices := u.in.expertsTouched(rows, dim(ids, 1), m.p.Lead)
	for i := before; i < len(u.args); i++ {
		w := u.args[i].Weight
		if w == nil || w.Table {
			continue
		}
		plane := u.in.planeBytes(m.p.Name, w.Role) / int64(m.p.Lead)
		touched := choices.Mul(ir.Const(plane))
		u.args[i].BytesAccessed = &touched
		chosen, whole := ir.Sym(rows).Mul(ir.Const(int64(dim(ids, 1)))).Mul(ir.Const(plane)), ir.Const(int64(m.p.Lead)*plane)
		u.args[i].AtMost = &chosen
		if u.in.Phase == program.Decode {
			u.args[i].AtMost = &whole
		}
	}
	return m
}

// expertsTouched bounds how many experts a step's rows choose: each row its
// own in decode; in prefill all.
func (in *Input) expertsTouched(rows string, k, experts int) ir.Expr {
	if in.Phase == program.Prefill {
		return ir.Const(int64(experts))
	}
	return ir.Sym(rows).Mul(ir.Const(int64(min(k, experts))))
}

package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// token is a row's token. In a decode step it may be one that an earlier step picked,
// which the host need not know: Tokens has it, where the row's source says. A row that
// follows on nothing (-1: no logit was a number) takes token 0, and its text ends.
func (u *emitter) token(row *kernel.Expr) *kernel.Expr {
	if u.in.Phase != program.Decode || u.in.Step.Tokens == nil {
		return u.Let("token", u.StepAt("token", row))
	}
	if u.held == (kernel.Buffer{}) {
		u.held = u.scratch("picked_before", u.in.Step.Tokens, kernel.I32, kernel.Read)
		u.accesses(ir.Const(4 * int64(u.in.Step.Sampled)))
	}
	source := u.Let("source", u.StepAt(program.Source, row))
	token := u.Var("token", u.StepAt("token", row))
	u.If(source.Ge(i32(0)), func() { token.Set(u.held.At(source).Max(i32(0))) }, nil)
	return token.Expr
}

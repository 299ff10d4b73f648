package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
)

// changes are a row's in the step's lists, as pick.Changes says.
type changes struct {
	from, to           *kernel.Expr // places in the lists
	positive, negative *kernel.Expr
}

func (s *sampler) changes() changes {
	return changes{from: s.Let("changes_from", s.StepAt(program.SampleFrom, s.row)), to: s.Let("changes_to", s.StepAt(program.SampleTo, s.row))}
}

// factors reads the factors of a row that has changes.
func (s *sampler) factors(c *changes) {
	c.positive, c.negative = s.Let("positive", s.StepAt(program.SamplePositive, s.row)), s.Let("negative", s.StepAt(program.SampleNegative, s.row))
}

// change is one of the lists: its token, and whether the factors leave that alone.
type change struct{ token, unscaled *kernel.Expr }

// changeAt is the n-th, whose token pick.Change.Word spells.
func (s *sampler) changeAt(n *kernel.Expr) change {
	word := s.Let("token", s.StepAt(program.SampleTokens, n))
	unscaled := word.Lt(i32(0))
	return change{s.Let("token", unscaled.Select(i32(-1).Sub(word), word)), unscaled}
}

// changed is the key of a logit that had another one, by the n-th of the lists.
func (s *sampler) changed(c changes, x change, n, key *kernel.Expr) *kernel.Expr {
	logit := s.Let("logit", s.normal(s.logitOf(key)))
	factor := s.Let("factor", x.unscaled.Select(f32(1), logit.Gt(f32(0)).Select(c.positive, c.negative)))
	scaled := s.Let("scaled", logit.Mul(factor))
	less := s.Let("less", s.normal(scaled).Sub(s.StepAt(program.SampleLess, n)))
	return s.orderKey(s.Let("changed", s.normal(less)))
}

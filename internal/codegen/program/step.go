package program

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Step is the block of step parameters: its layout and how each field is
// computed from a step's rows. Fields are
//
//	one number per symbol of the module, under the symbol's name;
//	token, position, slot [MaxRows], wanted [MaxRows] (row numbers);
//	closing<R> [MaxRows] for each ratio R: the rows with (position+1) mod R = 0;
//	rope<i> [MaxRows * Dims]: cosine and sine of the row's position, per pair
//	(cos at 2*pair, sin at 2*pair+1); for a rotation of closing rows, row e is
//	the e-th closing row and the position is position-(R-1);
//	score_row, score_token, score_top [Sampled], by ask, and score_into, if the module has
//	Logits;
//	source [Sampled], by row, if the module has Logits;
//	sample_into, and sample_inv, sample_top_k ... [Sampled], by wanted row, if the
//	module has Logits, with masks of Vocab tokens and lists of Changes.
type Step struct {
	Layout  *kernel.StepLayout
	MaxRows int
	Vocab   int // of the logits that tokens are picked from; 0: none
	Sampled int // rows whose tokens are picked, at most
	Changes int // logits that are changed for that, of all rows together, at most
	// Tokens is where those tokens go, and where rows of later steps take theirs from:
	// TokenSets sets of Sampled i32. It is nil if Vocab is 0.
	Tokens *Scratch
	// Scores is where scores go: TokenSets sets of ScoreWords words for each of up to
	// Sampled asks. It is nil if Vocab is 0.
	Scores  *Scratch
	Symbols []ir.Symbol
	Closing []int
	Ropes   []StepRope
}

// StepRope is one table of cosines and sines.
type StepRope struct {
	Attr  ops.RopeAttr // Inverse is false
	Ratio int          // 0: of every row's position; else of closing rows
}

// NewStep lays out the block for a module, for steps of at most maxRows rows.
func NewStep(m *ir.Module, maxRows int) *Step {
	s := &Step{Layout: &kernel.StepLayout{}, MaxRows: maxRows, Symbols: m.Symbols}
	number := func(name string) { s.add(name, kernel.I32, 0) }
	for _, sym := range m.Symbols {
		number(sym.Name)
	}
	for _, in := range []string{"token", "position", "slot", "wanted"} {
		s.add(in, kernel.I32, maxRows)
	}
	for _, sym := range m.Symbols {
		if sym.Def == ir.Closing {
			s.Closing = append(s.Closing, int(sym.Arg))
			s.add(ClosingField(int(sym.Arg)), kernel.I32, maxRows)
		}
	}
	for _, n := range m.Nodes {
		if n.Op == ops.Rope {
			s.addRope(n)
		}
	}
	if v := Logits(m); v != nil {
		vocab, _ := v.Type.Shape[1].Value()
		s.addSampling(int(vocab))
	}
	return s
}

func (s *Step) add(name string, elem kernel.Scalar, n int) {
	s.Layout.Fields = append(s.Layout.Fields, kernel.StepField{Name: name, Elem: elem, Len: n})
}

// ClosingField names the array of rows that close a block of ratio tokens.
func ClosingField(ratio int) string { return fmt.Sprintf("closing%d", ratio) }

// addRope adds the table a rotation needs, unless it is there.
func (s *Step) addRope(n *ir.Node) {
	r := StepRope{Attr: n.Attr.(ops.RopeAttr)}
	r.Attr.Inverse = false
	if def := n.Args[1].Def; def != nil && def.Op == ops.IndexMap {
		r.Ratio = ratioOfShift(def)
	}
	if s.rope(r) >= 0 {
		return
	}
	s.Ropes = append(s.Ropes, r)
	s.add(RopeTable(len(s.Ropes)-1), kernel.F32, s.MaxRows*r.Attr.Dims)
}

// RopeTable names the i-th table of cosines and sines.
func RopeTable(i int) string { return fmt.Sprintf("rope%d", i) }

// ratioOfShift reads the ratio of an index map i-(ratio-1).
func ratioOfShift(n *ir.Node) int {
	shift := n.Attr.(ops.IndexMapAttr).To.Sub(ir.Sym("i"))
	k, _ := shift.Value()
	return int(1 - k)
}

func (s *Step) rope(r StepRope) int {
	for i, have := range s.Ropes {
		if have == r {
			return i
		}
	}
	return -1
}

// RopeField names the table of a rotation of rows (ratio 0) or closing rows.
func (s *Step) RopeField(a ops.RopeAttr, ratio int) (string, error) {
	a.Inverse = false
	i := s.rope(StepRope{a, ratio})
	if i < 0 {
		return "", fmt.Errorf("the step block has no rotation table of %+v for ratio %d", a, ratio)
	}
	return RopeTable(i), nil
}

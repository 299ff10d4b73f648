package devmem

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/ir"
)

// Slots knows how many tokens each slot of a plan has. Its methods allocate
// nothing once it is made.
type Slots struct {
	plan  *plan.Plan
	vocab int
	next  []int32 // position of each slot's next row
	then  []int32 // the same, after the step that is being checked
	low   []int32 // where each slot's rings still have what a row looks back to
	back  int     // rows that decode steps can take back
	fed   bool    // the step that is being checked is one of prompts
}

// NewSlots are empty ones, for a model with a vocabulary of so many tokens.
func NewSlots(p *plan.Plan, vocab int) *Slots {
	return &Slots{plan: p, vocab: vocab, next: make([]int32, p.Slots), then: make([]int32, p.Slots), low: make([]int32, p.Slots), back: back(p)}
}

// Check refuses a step that the plan has no room for, rows that do not go on
// where their slots are, and tokens outside the vocabulary, for which kernels
// would read elsewhere in memory. Take makes a checked step's rows count.
func (s *Slots) Check(step *plan.Step, rows []ir.Row, wanted []int) error {
	if len(rows) < 1 || len(rows) > step.MaxRows {
		return option.Errorf("a %s step of %d rows; the bundle takes 1 to %d (compile with a larger %s)", step.Phase, len(rows), step.MaxRows, option.Name("Chunk"))
	}
	if len(wanted) > s.plan.Wanted {
		return option.Errorf("%d rows wanted; the bundle takes %d (compile with more %s)", len(wanted), s.plan.Wanted, option.Name("Wanted"))
	}
	copy(s.then, s.next)
	s.fed = step.Phase == program.Prefill
	for i, r := range rows {
		if step.Phase == program.Prefill && r.Slot != rows[0].Slot {
			return fmt.Errorf("row %d: slot %d in a step with a prompt of slot %d; a prefill step takes rows of one slot", i, r.Slot, rows[0].Slot)
		}
		if r.Slot < 0 || int(r.Slot) >= s.plan.Slots {
			return option.Errorf("row %d: slot %d; expected 0 to %d (compile with more %s)", i, r.Slot, s.plan.Slots-1, option.Name("Slots"))
		}
		if r.Position != s.then[r.Slot] {
			return fmt.Errorf("row %d: slot %d at position %d; expected that it goes on at %d", i, r.Slot, r.Position, s.then[r.Slot])
		}
		if int(r.Position) >= s.plan.Context {
			return option.Errorf("row %d: slot %d at position %d; the bundle takes contexts of %d (compile with a larger %s)", i, r.Slot, r.Position, s.plan.Context, option.Name("Context"))
		}
		if err := CheckToken(i, r, s.vocab); err != nil {
			return err
		}
		s.then[r.Slot]++
	}
	for _, w := range wanted {
		if w < 0 || w >= len(rows) {
			return fmt.Errorf("wanted row %d is outside %d rows", w, len(rows))
		}
	}
	return nil
}

// CheckToken refuses the i-th row of a step if a vocabulary of so many tokens
// lacks its token.
func CheckToken(i int, r ir.Row, vocab int) error {
	if r.Token < 0 || int(r.Token) >= vocab {
		return fmt.Errorf("row %d: token %d; expected 0 to %d, the ids of the model's vocabulary", i, r.Token, vocab-1)
	}
	return nil
}

// Take makes the rows of the step checked last part of their slots.
func (s *Slots) Take() {
	for i, n := range s.then {
		switch {
		case n == s.next[i]:
		case s.fed: // of a prompt no rows are left but those that the next looks back to
			s.low[i] = n
		default:
			s.low[i] = max(s.low[i], n-int32(s.back))
		}
	}
	copy(s.next, s.then)
}

// holds says that a slot has so many tokens, and in its rings what the next looks back to.
func (s *Slots) holds(slot int32, tokens int) {
	s.next[slot], s.low[slot] = int32(tokens), int32(tokens)
}

// TakeBack makes a slot's sequence shorter, by tokens of decode steps that ran ahead of
// what was known. Rows that come in their place are written over theirs; what rings
// lost to them must be so old that no row from there on looks back to it.
func (s *Slots) TakeBack(slot int32, length int) error {
	if slot < 0 || int(slot) >= len(s.next) {
		return option.Errorf("slot %d; expected 0 to %d (compile with more %s)", slot, len(s.next)-1, option.Name("Slots"))
	}
	have := int(s.next[slot])
	if length < 0 || length > have {
		return fmt.Errorf("slot %d has %d tokens and cannot go back to %d", slot, have, length)
	}
	if err := s.looksBack(slot, length); err != nil {
		return fmt.Errorf("slot %d has %d tokens and cannot go back to %d: %w", slot, have, length, err)
	}
	s.low[slot] = min(s.low[slot], int32(length))
	s.next[slot] = int32(length)
	return nil
}

// looksBack refuses a position of a slot, of its length or before, if its rings lost what
// is looked back to from there.
func (s *Slots) looksBack(slot int32, at int) error {
	if low := int(s.low[slot]); at < low && at > 0 {
		return fmt.Errorf("its rings keep what those from %d on look back to", low)
	}
	return nil
}

// back is how many rows can be taken back: a ring keeps the rows that its readers look
// back to, and so many more. A row overwrites what lies Capacity before it.
func back(p *plan.Plan) int {
	n := p.Context
	for _, c := range p.Caches {
		if !c.Ring || c.Capacity >= p.Context {
			continue
		}
		keep, _ := c.State.Keep.Value()
		n = min(n, c.Capacity-int(keep)+1)
	}
	return n
}

// Length is the number of tokens in a slot.
func (s *Slots) Length(slot int32) int { return int(s.next[slot]) }

// Reset forgets a slot.
func (s *Slots) Reset(slot int32) {
	if slot >= 0 && int(slot) < len(s.next) {
		s.next[slot], s.low[slot] = 0, 0
	}
}

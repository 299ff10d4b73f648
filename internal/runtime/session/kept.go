package session

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/runtime/prefix"
)

// vacancy is a slot that no sequence has, with what the last one left in it.
type vacancy struct {
	slot   int32
	tokens []int32   // those that the slot holds, none if it is empty
	left   *Sequence // that left them, closed since; nil if the slot is empty
}

// begins tells whether the slot holds tokens, and the prompt begins with them and goes on.
func (v vacancy) begins(prompt []int32) bool {
	n := len(v.tokens)
	return n > 0 && n < len(prompt) && slices.Equal(v.tokens, prompt[:n])
}

// vacancies are a session's free slots, in the order in which they became free.
type vacancies []vacancy

// best is the index of the slot to take for a prompt: the one that holds most of its
// beginning, else the empty one that became free last, else the one that has been free
// for the longest time.
func (all vacancies) best(prompt []int32) int {
	holds, empty := -1, -1
	for i, v := range all {
		if v.begins(prompt) && (holds < 0 || len(v.tokens) > len(all[holds].tokens)) {
			holds = i
		}
		if len(v.tokens) == 0 {
			empty = i
		}
	}
	switch {
	case holds >= 0:
		return holds
	case empty >= 0:
		return empty
	}
	return 0
}

// OpenFor is Open for a sequence that is going to be the prompt and more. Where a free
// slot holds a beginning of the prompt (see Keep), or one is kept beside the slots, at most all
// but its last token, the sequence has the longest of these already: Len tells how many
// tokens. It then has no Logits.
func (s *Session) OpenFor(prompt []int32) (*Sequence, error) {
	if len(s.free) == 0 {
		return nil, fmt.Errorf("all %d slots are in use; close a sequence or ask for more slots", s.opts.Slots)
	}
	i := s.free.best(prompt)
	v := s.free[i]
	s.free = slices.Delete(s.free, i, i+1)
	q := &Sequence{s: s, slot: v.slot}
	if v.begins(prompt) {
		q.length = len(v.tokens)
	}
	if prompt != nil {
		q.restore(prompt)
	}
	if q.length == 0 && len(v.tokens) > 0 {
		s.dev.Reset(v.slot)
	}
	return q, nil
}

// Keep is Close that leaves in the slot what it holds, for OpenFor. The caller says which
// tokens those are: the sequence's Len first ones of tokens, from its beginning. The row of
// a step that runs ahead, whose tokens nobody picked yet, is taken back: it does not
// count. Where tokens are too few to say what the slot holds, or the row cannot be taken
// back, it is emptied. A sequence of OpenFor is kept beside the slots, too.
func (q *Sequence) Keep(tokens []int32) {
	s := q.s
	if s == nil {
		return
	}
	if q.flies() {
		q.length--
		if err := s.runner.TakeBack(q.slot, q.length); err != nil {
			q.Close()
			return
		}
	}
	if q.length == 0 || q.length > len(tokens) {
		q.Close()
		return
	}
	if q.length < s.opts.Context { // or no prompt goes on with it
		if err := q.Mark(prefix.Text, tokens); err != nil {
			q.Close()
			return
		}
	}
	s.free = append(s.free, vacancy{q.slot, slices.Clone(tokens[:q.length]), q})
	q.kept.release()
	*q = Sequence{}
}

// flies tells whether the sequence has a row in a step that was begun, whose tokens nobody
// picked.
func (q *Sequence) flies() bool {
	return q.s.runner != nil && slices.ContainsFunc(q.s.begun, func(n Next) bool { return n.Sequence == q })
}

// empty empties a free slot if it holds what a sequence left, which had a row in a step that
// failed. What was kept of it then is not to be trusted either.
func (s *Session) empty(left *Sequence) {
	i := slices.IndexFunc(s.free, func(v vacancy) bool { return v.left == left })
	if i >= 0 {
		if s.tree != nil {
			s.tree.Forget(s.free[i].tokens)
		}
		s.dev.Reset(s.free[i].slot)
		s.free[i].tokens, s.free[i].left = nil, nil
	}
}

// Forget empties all free slots, and drops all that is kept beside them.
func (s *Session) Forget() {
	for i, v := range s.free {
		if len(v.tokens) > 0 {
			s.dev.Reset(v.slot)
			s.free[i].tokens, s.free[i].left = nil, nil
		}
	}
	if s.tree != nil {
		s.tree.Close()
	}
}

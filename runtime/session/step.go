package session

import (
	"fmt"

	"smelt/ir"
)

// Options are the session's, with the defaults filled in.
func (s *Session) Options() Options { return s.opts }

// ExtendStep appends tokens, from 1 to the options' Chunk of them, in one step:
// the part of Extend for callers that run other steps in between. The newest
// token has logits only where last is set. On an error, which is a
// *ContextError if the sequence would become too long, nothing changes.
func (q *Sequence) ExtendStep(tokens []int32, last bool) error {
	if err := q.extendRows(tokens, last); err != nil {
		return err
	}
	logits, err := q.s.dev.Prefill(q.s.rows, q.s.wanted)
	if err != nil {
		return err
	}
	q.s.steps++
	q.length += len(tokens)
	q.logits = nil
	if last {
		q.logits = logits
	}
	return nil
}

// extendRows makes the rows of a step with a part of a prompt, the last of them
// wanted or none.
func (q *Sequence) extendRows(tokens []int32, last bool) error {
	s := q.s
	if s == nil {
		return errClosed
	}
	if len(tokens) < 1 || len(tokens) > s.opts.Chunk {
		return fmt.Errorf("session: a step of %d tokens, expected 1 to %d", len(tokens), s.opts.Chunk)
	}
	if len(tokens) > s.opts.Context-q.length {
		return &ContextError{q.length, len(tokens), s.opts.Context}
	}
	s.rows, s.wanted = s.rows[:0], s.wanted[:0]
	for i, t := range tokens {
		s.rows = append(s.rows, ir.Row{Token: t, Position: int32(q.length + i), Slot: q.slot})
	}
	if last {
		s.wanted = append(s.wanted, len(tokens)-1)
	}
	return nil
}

package session

import (
	"fmt"

	"smelt.example/smelt/ir"
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

// ExtendAll is ExtendStep that returns the logits of every token, one row after
// another, for at most the options' Wanted tokens.
func (q *Sequence) ExtendAll(tokens []int32) ([]float32, error) {
	if q.s != nil && len(tokens) > q.s.opts.Wanted {
		return nil, fmt.Errorf("session: logits of %d tokens, expected 1 to %d", len(tokens), q.s.opts.Wanted)
	}
	if err := q.extendRows(tokens, true); err != nil {
		return nil, err
	}
	s := q.s
	s.wanted = s.wanted[:0]
	for i := range tokens {
		s.wanted = append(s.wanted, i)
	}
	logits, err := s.dev.Prefill(s.rows, s.wanted)
	if err != nil {
		return nil, err
	}
	s.steps++
	q.length += len(tokens)
	q.logits = logits[len(logits)-s.dev.Vocab():]
	return logits, nil
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

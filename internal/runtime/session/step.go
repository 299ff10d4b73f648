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

// ExtendEach is ExtendStep that hands the logits of the tokens from index first on to
// each, in their order, for at most the options' Wanted tokens. A slice is each's to
// keep. Where the device is a Sampler, whoever keeps none has those of one token at a
// time outside the device's memory. An error of each ends the handing out; the tokens
// are in the sequence then.
func (q *Sequence) ExtendEach(tokens []int32, first int, each func(i int, logits []float32) error) error {
	if err := q.extendRows(tokens, false); err != nil {
		return err
	}
	s := q.s
	if n := len(tokens) - first; first < 0 || n < 0 || n > s.opts.Wanted {
		return fmt.Errorf("session: logits of %d tokens, of %d; expected at most %d", n, len(tokens), s.opts.Wanted)
	}
	for i := first; i < len(tokens); i++ {
		s.wanted = append(s.wanted, i)
	}
	row, err := s.runRows()
	if err != nil {
		return err
	}
	s.steps++
	q.length += len(tokens)
	q.logits = nil
	for i := range s.wanted {
		logits, err := row(i)
		if err == nil {
			err = each(first+i, logits)
		}
		if err != nil {
			return err
		}
		q.logits = logits
	}
	return nil
}

// runRows runs the step that was made last, as one of a prompt, and returns what gives
// the logits of its wanted rows.
func (s *Session) runRows() (row func(i int) ([]float32, error), err error) {
	if s.sampler == nil || len(s.wanted) == 0 {
		all, err := s.dev.Prefill(s.rows, s.wanted)
		v := s.dev.Vocab()
		return func(i int) ([]float32, error) { return all[i*v : (i+1)*v : (i+1)*v], nil }, err
	}
	return s.sampler.LastLogits, s.sampler.SamplePrefill(s.rows, s.wanted, nil, nil)
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

package session

import "fmt"

// Options are the session's, with the defaults filled in.
func (s *Session) Options() Options { return s.opts }

// ExtendStep appends tokens, from 1 to the options' Chunk of them, in one step:
// the part of Extend for callers that run other steps in between. The newest
// token has logits only where last is set. On an error, which is a
// *ContextError if the sequence would become too long, nothing changes.
func (q *Sequence) ExtendStep(tokens []int32, last bool) error {
	if q.s == nil {
		return errClosed
	}
	if len(tokens) < 1 || len(tokens) > q.s.opts.Chunk {
		return fmt.Errorf("session: a step of %d tokens, expected 1 to %d", len(tokens), q.s.opts.Chunk)
	}
	if len(tokens) > q.s.opts.Context-q.length {
		return &ContextError{q.length, len(tokens), q.s.opts.Context}
	}
	var wanted []int
	if last {
		wanted = []int{len(tokens) - 1}
	}
	logits, err := q.s.dev.Prefill(q.rows(nil, tokens), wanted)
	if err != nil {
		return err
	}
	q.length += len(tokens)
	q.logits = nil
	if last {
		q.logits = logits
	}
	return nil
}

package session

import (
	"fmt"
	"slices"

	"smelt.example/smelt/runtime/sampling"
)

// ExtendScores is ExtendStep that scores targets: to scores, which has as many elements,
// goes the logarithm of the probability of each after the tokens up to one of those from
// index first on, in their order. The options' Wanted bounds how many, and one less where
// last is set and the newest token has no target. Where the device is a Scorer, no logits
// leave it but the newest token's, if last is set.
func (q *Sequence) ExtendScores(tokens []int32, first int, targets []int32, scores []float64, last bool) error {
	if err := q.extendRows(tokens, false); err != nil {
		return err
	}
	s := q.s
	if first < 0 || len(targets) != len(scores) || len(targets) > len(tokens)-first {
		return fmt.Errorf("session: %d targets and room for %d scores, of tokens from %d on, of %d", len(targets), len(scores), first, len(tokens))
	}
	s.targets = append(s.targets[:0], targets...)
	for i := range targets {
		s.wanted = append(s.wanted, first+i)
	}
	if end := first + len(targets); last && (len(targets) == 0 || end < len(tokens)) {
		s.wanted, s.targets = append(s.wanted, len(tokens)-1), append(s.targets, -1)
	}
	if len(s.wanted) > s.opts.Wanted {
		return fmt.Errorf("session: results of %d tokens; expected at most %d", len(s.wanted), s.opts.Wanted)
	}
	score, row, err := s.runScores()
	if err != nil {
		return err
	}
	s.steps++
	q.length += len(tokens)
	q.logits = nil
	for i := range scores {
		if scores[i], err = score(i); err != nil {
			return err
		}
	}
	if last {
		q.logits, err = row(len(s.wanted) - 1)
	}
	return err
}

// runScores runs the step that was made last, as one of a prompt with targets, and
// returns what gives the scores and the logits of its wanted rows.
func (s *Session) runScores() (score func(i int) (float64, error), row func(i int) ([]float32, error), err error) {
	if s.scorer == nil || len(s.wanted) == 0 {
		row, err = s.runRows()
		return func(i int) (float64, error) {
			logits, err := row(i)
			if err != nil {
				return 0, err
			}
			return sampling.LogProb(logits, s.targets[i]), nil
		}, row, err
	}
	s.scored = slices.Grow(s.scored[:0], len(s.wanted))[:len(s.wanted)]
	err = s.scorer.ScorePrefill(s.rows, s.wanted, s.targets, s.scored)
	return func(i int) (float64, error) { return float64(s.scored[i]), nil }, s.scorer.LastLogits, err
}

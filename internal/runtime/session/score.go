package session

import (
	"errors"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/runtime/sampling"
)

// Scores tells whether the device scores tokens itself, each with so many of the most
// probable ones: then no step's logits are needed for that.
func (s *Session) Scores(top int) bool {
	return s.scorer != nil && (s.runner == nil || s.ahead != nil) && top <= program.MaxTop
}

// scoreOf is a token's score by logits that have left the device.
func scoreOf(logits []float32, token int32, top int) device.Score {
	return device.Score{Token: token, LogProb: sampling.LogProb(logits, token), Top: sampling.Top(logits, top)}
}

// ExtendScores is ExtendStep that scores targets: to scores, which has as many elements,
// goes how probable each is after the tokens up to one of those from index first on, in
// their order, with so many of the most probable tokens there. The options' Wanted bounds
// how many, and one less where last is set and the newest token has no target. Where the
// device Scores them, no logits leave it but the newest token's, if last is set.
func (q *Sequence) ExtendScores(tokens []int32, first int, targets []int32, top int, scores []device.Score, last bool) error {
	if err := q.extendRows(tokens, false); err != nil {
		return err
	}
	s := q.s
	if first < 0 || len(targets) != len(scores) || len(targets) > len(tokens)-first {
		return fmt.Errorf("session: %d targets and room for %d scores, of tokens from %d on, of %d", len(targets), len(scores), first, len(tokens))
	}
	for i := range targets {
		s.wanted = append(s.wanted, first+i)
	}
	if end := first + len(targets); last && (len(targets) == 0 || end < len(tokens)) {
		s.wanted = append(s.wanted, len(tokens)-1)
	}
	if len(s.wanted) > s.opts.Wanted {
		return fmt.Errorf("session: results of %d tokens; expected at most %d", len(s.wanted), s.opts.Wanted)
	}
	row, err := s.runRows()
	if err != nil {
		return err
	}
	s.steps++
	q.length += len(tokens)
	q.logits = nil
	if err := s.scoreRows(row, targets, top, scores); err != nil {
		return err
	}
	if last {
		q.logits, err = row(len(s.wanted) - 1)
	}
	return err
}

// scoreRows scores a target of each of the first wanted rows of the last step, whose logits
// are row's.
func (s *Session) scoreRows(row func(i int) ([]float32, error), targets []int32, top int, scores []device.Score) error {
	if s.Scores(top) {
		s.asks = s.asks[:0]
		for i, t := range targets {
			s.asks = append(s.asks, program.Ask{Row: int32(i), Token: t, Top: int32(top)})
		}
		return s.scorer.Score(s.asks, scores)
	}
	for i, t := range targets {
		logits, err := row(i)
		if err != nil {
			return err
		}
		scores[i] = scoreOf(logits, t, top)
	}
	return nil
}

// Score is how probable a token is after the newest one, with so many of the most probable
// tokens there. The last step must have been the sequence's alone, or have left it Logits.
func (q *Sequence) Score(token int32, top int) (device.Score, error) {
	if q.logits == nil && q.wasAlone() && q.s.Scores(top) {
		var score [1]device.Score
		err := q.s.scorer.Score([]program.Ask{{Token: token, Top: int32(top)}}, score[:])
		return score[0], err
	}
	if err := q.fetchLogits(); err != nil {
		return device.Score{}, err
	}
	if q.logits == nil {
		return device.Score{}, errors.New("session: the sequence has no logits to score a token by")
	}
	return scoreOf(q.logits, token, top), nil
}

// BeginScore begins to score tokens that BeginPick began to pick, and others in their
// places: an ask is of the sequence with the number of its Row in that step, and its Token
// is negative for the picked one. It comes before the next step's Begin, AwaitScore after
// this one's Await. The device must be one that Scores them. On an error the step is undone.
func (s *Session) BeginScore(asks []program.Ask) (err error) {
	if !s.Scores(0) || !s.unknown {
		return errors.New("session: no device that scores tokens is picking any")
	}
	if s.runner != nil {
		err = s.ahead.BeginScore(asks)
	} else {
		s.scored = slices.Grow(s.scored[:0], len(asks))[:len(asks)]
		err = s.scorer.Score(asks, s.scored)
	}
	if err != nil {
		s.undo()
	}
	return err
}

// AwaitScore gives the scores that BeginScore asked for. On an error the step that was begun
// after theirs is undone.
func (s *Session) AwaitScore(scores []device.Score) error {
	if s.runner != nil {
		err := s.ahead.AwaitScore(scores)
		if err != nil {
			s.undo()
		}
		return err
	}
	if len(scores) != len(s.scored) {
		return fmt.Errorf("session: room for %d scores, of %d that were asked for", len(scores), len(s.scored))
	}
	copy(scores, s.scored)
	s.scored = s.scored[:0]
	return nil
}

package session

import (
	"fmt"

	"smelt.example/smelt/runtime/sampling"
)

// Sample is Decode that also picks the token after each of next, by its choice.
// The tokens go to picked, which like choices has an element for each of next;
// -1 where no logit is a number. Where the device is a Sampler the sequences have
// no Logits then. On an error none changes.
func (s *Session) Sample(next []Next, choices []sampling.Choice, picked []int32) error {
	if len(choices) != len(next) || len(picked) != len(next) {
		return fmt.Errorf("session: %d choices and room for %d tokens, for %d sequences", len(choices), len(picked), len(next))
	}
	s.forget()
	if err := s.Begin(next); err != nil {
		return err
	}
	if err := s.BeginPick(choices); err != nil {
		return err
	}
	return s.Await(picked)
}

// ExtendSample is ExtendStep that picks the token after the newest one, as
// Session.Sample does.
func (q *Sequence) ExtendSample(tokens []int32, c sampling.Choice) (int32, error) {
	if q.s == nil || q.s.sampler == nil {
		if err := q.ExtendStep(tokens, true); err != nil {
			return 0, err
		}
		return q.s.pick(q.logits, c), nil
	}
	if err := q.extendRows(tokens, true); err != nil {
		return 0, err
	}
	q.s.forget()
	picked := []int32{0}
	if err := q.s.sampler.SamplePrefill(q.s.rows, q.s.wanted, []sampling.Choice{c}, picked); err != nil {
		return 0, err
	}
	q.s.steps++
	q.length += len(tokens)
	q.logits, q.alone = nil, q.s.steps
	return picked[0], nil
}

// Pick picks the token after the newest one from the sequence's Logits, which
// must be there; -1 if none is a number.
func (q *Sequence) Pick(c sampling.Choice) int32 { return q.s.pick(q.logits, c) }

// SampledLogits are those that the last Sample picked from for the i-th of its
// sequences; they are valid until that sequence gets its next token.
func (s *Session) SampledLogits(next []Next, i int) ([]float32, error) {
	if s.runner == nil && s.sampler == nil {
		return next[i].Sequence.logits, nil
	}
	return s.lastLogits(i)
}

// lastLogits are those of the device's last step.
func (s *Session) lastLogits(i int) ([]float32, error) {
	if s.runner != nil {
		return s.runner.LastLogits(i)
	}
	return s.sampler.LastLogits(i)
}

// pick is a token, or -1 if no logit is a number.
func (s *Session) pick(logits []float32, c sampling.Choice) int32 {
	token, err := c.Pick(logits, &s.scratch)
	if err != nil {
		return -1
	}
	return token
}

// fetchLogits gets a sequence the logits that are still on the device, which is
// so if the last step was its alone.
func (q *Sequence) fetchLogits() (err error) {
	if q.logits == nil && q.wasAlone() {
		q.logits, err = q.s.lastLogits(0)
	}
	return err
}

// wasAlone tells whether the last step was the sequence's alone, and sampled.
func (q *Sequence) wasAlone() bool { return q.s != nil && q.alone > 0 && q.alone == q.s.steps }

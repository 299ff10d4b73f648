package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/runtime/sampling"
)

// GenerateOptions says how a sequence goes on.
type GenerateOptions struct {
	MaxTokens int // 0: until a stop token or the end of the context
	Sampling  sampling.Params
	Allowed   *pick.Mask // tokens that may be picked; nil: all
	Prompt    []int32    // what the sequence has, for Sampling's penalties
	Stop      []int32    // tokens that end the text; they are not emitted
	// Emit, if not nil, gets every token as it is chosen. An error ends the
	// generation.
	Emit func(token int32) error
}

// StopReason is why a generation ended.
type StopReason string

const (
	// StopToken: the model chose one of the stop tokens.
	StopToken StopReason = "stop token"
	// StopString: the text came to one of the strings that end it.
	StopString StopReason = "stop string"
	// StopLength: MaxTokens were generated.
	StopLength StopReason = "length"
	// StopContext: the sequence is as long as its context allows.
	StopContext StopReason = "context is full"
	// StopCancelled: the caller's context ended.
	StopCancelled StopReason = "interrupted"
)

// Generate samples tokens after what the sequence has, which must be at least
// one token. It returns how many it emitted and why it ended; cancelling ctx
// is not an error. The random numbers depend on seed, slot and position. After
// StopLength the last token emitted is not part of the sequence: extend it by
// that token to go on. A device that is a Sampler picks the tokens;
// the sequence has Logits at the end unless Emit had other sequences go on. Where the
// session runs ahead, Emit must leave the session alone, and a text whose end nobody knew
// before takes two steps more: one past its end, and its last again, for the Logits.
func (q *Sequence) Generate(ctx context.Context, o GenerateOptions) (n int, reason StopReason, err error) {
	if q.logits == nil {
		return 0, "", errors.New("session: nothing to go on from; extend the sequence by at least one token first")
	}
	if err := o.Sampling.Validate(); err != nil {
		return 0, "", err
	}
	if err := (sampling.Choice{Allowed: o.Allowed}).Check(q.s.Vocab()); err != nil {
		return 0, "", err
	}
	// A later call may choose otherwise, so the sequence ends with logits.
	a := &generation{q: q}
	defer func() {
		if e := a.end(); err == nil {
			err = e
		}
	}()
	choices, picked := make([]sampling.Choice, 1), make([]int32, 1)
	chooser := NewChooser(o.Sampling, uint64(q.slot), o.Allowed, o.Prompt)
	picked[0] = q.s.pick(q.logits, chooser.Choice(q.length))
	for ; ; n++ {
		if ctx.Err() != nil {
			return n, StopCancelled, nil
		}
		if a.length() >= q.s.opts.Context {
			return n, StopContext, nil
		}
		token := picked[0]
		if token < 0 {
			return n, "", fmt.Errorf("position %d: %w", a.length(), sampling.ErrNoLogits)
		}
		if slices.Contains(o.Stop, token) {
			return n, StopToken, nil
		}
		if o.Emit != nil {
			if err := o.Emit(token); err != nil {
				return n, "", err
			}
		}
		if n+1 == o.MaxTokens { // the last token's logits are not needed
			return n + 1, StopLength, nil
		}
		chooser.Add(token)
		if !a.begun {
			if err := q.s.Begin([]Next{{q, token}}); err != nil {
				return n + 1, "", err
			}
		}
		choices[0], a.newest = chooser.Choice(q.length), token
		if err := a.pick(choices, picked, n+2 == o.MaxTokens); err != nil {
			return n + 1, "", err
		}
	}
}

// generation is a text that may run ahead.
type generation struct {
	q      *Sequence
	begun  bool  // a step whose token is being picked
	newest int32 // token before that
}

// length is the sequence's without the token that is being picked.
func (a *generation) length() int {
	if a.begun {
		return a.q.length - 1
	}
	return a.q.length
}

// pick picks the token after the newest. Unless it is to be the text's last, the step
// that gives it to the sequence begins before anybody knows it.
func (a *generation) pick(choices []sampling.Choice, picked []int32, last bool) error {
	s := a.q.s
	a.begun = false
	if err := s.BeginPick(choices); err != nil {
		return err
	}
	if s.Ahead() && !last && a.q.length < s.opts.Context {
		if err := s.Begin([]Next{{a.q, Picked}}); err != nil {
			return err
		}
		a.begun = true
	}
	if err := s.Await(picked); err != nil {
		a.begun = false
		return err
	}
	return nil
}

// end makes the sequence what it is without the step that ran past the text's end.
func (a *generation) end() error {
	if !a.begun {
		return a.q.fetchLogits()
	}
	if err := a.q.TakeBack(); err != nil {
		return err
	}
	return a.q.repeat(a.newest)
}

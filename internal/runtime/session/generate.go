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
// the sequence has Logits at the end unless Emit had other sequences go on.
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
	defer func() {
		if e := q.fetchLogits(); err == nil {
			err = e
		}
	}()
	next, choices, picked := []Next{{q, 0}}, make([]sampling.Choice, 1), make([]int32, 1)
	chooser := NewChooser(o.Sampling, uint64(q.slot), o.Allowed, o.Prompt)
	picked[0] = q.s.pick(q.logits, chooser.Choice(q.length))
	for ; ; n++ {
		if ctx.Err() != nil {
			return n, StopCancelled, nil
		}
		if q.length >= q.s.opts.Context {
			return n, StopContext, nil
		}
		token := picked[0]
		if token < 0 {
			return n, "", fmt.Errorf("position %d: %w", q.length, sampling.ErrNoLogits)
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
		next[0].Token, choices[0] = token, chooser.Choice(q.length+1)
		if err := q.s.Sample(next, choices, picked); err != nil {
			return n + 1, "", err
		}
	}
}

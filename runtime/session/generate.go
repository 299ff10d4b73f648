package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"smelt/runtime/sampling"
)

// GenerateOptions says how a sequence goes on.
type GenerateOptions struct {
	MaxTokens int // 0: until a stop token or the end of the context
	Sampling  sampling.Params
	Stop      []int32 // tokens that end the text; they are not emitted
	// Emit, if not nil, gets every token as it is chosen. An error ends the
	// generation.
	Emit func(token int32) error
}

// StopReason is why a generation ended.
type StopReason string

const (
	// StopToken: the model chose one of the stop tokens.
	StopToken StopReason = "stop token"
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
// that token to go on.
func (q *Sequence) Generate(ctx context.Context, o GenerateOptions) (n int, reason StopReason, err error) {
	if q.logits == nil {
		return 0, "", errors.New("session: nothing to go on from; extend the sequence by at least one token first")
	}
	if err := o.Sampling.Validate(); err != nil {
		return 0, "", err
	}
	var scratch sampling.Scratch
	for ; ; n++ {
		if ctx.Err() != nil {
			return n, StopCancelled, nil
		}
		if q.length >= q.s.opts.Context {
			return n, StopContext, nil
		}
		token, err := sampling.Sample(q.logits, o.Sampling, uint64(q.slot), uint64(q.length), &scratch)
		if err != nil {
			return n, "", fmt.Errorf("position %d: %w", q.length, err)
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
		if err := q.s.Decode([]Next{{q, token}}); err != nil {
			return n + 1, "", err
		}
	}
}

// Package session turns a device's steps into sequences: prompts in chunks,
// tokens one by one, several sequences in one step. It knows no model and no
// device in particular.
package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// Options sizes a session.
type Options struct {
	Slots   int // sequences at once; 0 means 1
	Chunk   int // rows of a prompt per step; 0 means 128
	Context int // largest number of tokens of a sequence; 1 or more
	Wanted  int // rows of a step whose logits the device gives at most; 0 means Chunk
	Ahead   Ahead
	// Cache is for what is kept beside the slots, on a device.Keeper with room for it.
	Cache prefix.Options
}

// defaultChunk keeps a step of the reference device short enough for Ctrl-C
// and long enough to decode each weight once for many rows.
const defaultChunk = 128

// Session owns a device's slots. It is not safe for concurrent use.
type Session struct {
	dev     device.Device
	sampler device.Sampler // dev, if it is one; else nil
	scorer  device.Scorer  // the same
	opts    Options
	free    vacancies
	scratch sampling.Scratch

	rows   []ir.Row // of a step, made once
	wanted []int
	asks   []program.Ask  // of ExtendScores, made once
	scored []device.Score // that were begun and not waited for
	steps  uint64         // that the device ran
	runs
	kept
}

// maxSlots bounds the list of free slots.
const maxSlots = 1 << 16

// New prepares a session.
func New(dev device.Device, opts Options) (*Session, error) {
	if opts.Slots == 0 {
		opts.Slots = 1
	}
	if opts.Chunk == 0 {
		opts.Chunk = defaultChunk
	}
	if opts.Wanted == 0 {
		opts.Wanted = opts.Chunk
	}
	if opts.Slots < 1 || opts.Chunk < 1 || opts.Context < 1 || opts.Wanted < 1 {
		return nil, fmt.Errorf("session: slots %d, chunk %d, context %d and wanted %d must be 1 or more", opts.Slots, opts.Chunk, opts.Context, opts.Wanted)
	}
	if opts.Context > math.MaxInt32 {
		return nil, fmt.Errorf("session: context %d must be at most %d: positions are 32-bit numbers", opts.Context, math.MaxInt32)
	}
	if opts.Slots > maxSlots {
		return nil, fmt.Errorf("session: slots %d must be at most %d, more than any device has", opts.Slots, maxSlots)
	}
	s := &Session{dev: dev, opts: opts}
	s.sampler, _ = dev.(device.Sampler)
	s.scorer, _ = dev.(device.Scorer)
	if r, ok := dev.(device.Runner); ok && opts.Ahead != AheadNever && (r.Ahead() || opts.Ahead == AheadAlways) {
		s.runner = r
		s.ahead, _ = dev.(device.ScoringRunner)
	}
	if err := s.keepBeside(); err != nil {
		return nil, err
	}
	for slot := opts.Slots - 1; slot >= 0; slot-- {
		s.free = append(s.free, vacancy{slot: int32(slot)})
	}
	return s, nil
}

// Vocab is the number of logits per row.
func (s *Session) Vocab() int { return s.dev.Vocab() }

// Sequence is one text in the making.
type Sequence struct {
	s      *Session
	slot   int32
	length int
	logits []float32 // of the newest token; nil where Logits says so
	alone  uint64    // the step that sampled for this sequence alone, if that was its last
	kept   *keeping  // what it has to do with what is kept beside the slots; nil: nothing
	end    prefix.End
}

// Open starts an empty sequence. It fails when all slots are taken.
func (s *Session) Open() (*Sequence, error) { return s.OpenFor(nil) }

var errClosed = errors.New("session: the sequence is closed")

// Close gives the sequence's slot back, empty. A closed sequence has no tokens and
// takes none; closing it again does nothing.
func (q *Sequence) Close() {
	if q.s == nil {
		return
	}
	q.s.dev.Reset(q.slot)
	q.s.free = append(q.s.free, vacancy{slot: q.slot})
	q.kept.release()
	*q = Sequence{}
}

// Len is the number of tokens the sequence has.
func (q *Sequence) Len() int { return q.length }

// Logits are the newest token's, for the one to come; nil before the first
// token, after an Extend that ended early and after steps that sampled. They are
// valid until the sequence gets its next token.
func (q *Sequence) Logits() []float32 { return q.logits }

// ContextError says that a sequence would become too long.
type ContextError struct{ Have, More, Limit int }

func (e *ContextError) Error() string {
	return e.Spell(func(n option.Name) string { return string(n) })
}

// Spell is Error with another name for the option Context.
func (e *ContextError) Spell(name func(option.Name) string) string {
	return fmt.Sprintf("%d tokens and %d more exceed the context of %d; shorten the prompt or raise %s", e.Have, e.More, e.Limit, name("Context"))
}

// Extend appends tokens, chunk by chunk. progress, if not nil, is told how
// many of them are done after each chunk. It fails with a *ContextError before
// the first chunk. When ctx ends or the device fails, tokens of finished chunks
// stay and the error is returned.
func (q *Sequence) Extend(ctx context.Context, tokens []int32, progress func(done int)) error {
	if q.s == nil {
		return errClosed
	}
	if len(tokens) > q.s.opts.Context-q.length {
		return &ContextError{q.length, len(tokens), q.s.opts.Context}
	}
	for done := 0; done < len(tokens); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(q.s.opts.Chunk, len(tokens)-done)
		if err := q.ExtendStep(tokens[done:done+n], done+n == len(tokens)); err != nil {
			return err
		}
		done += n
		if progress != nil {
			progress(done)
		}
	}
	return nil
}

// Next is a sequence and the token it gets.
type Next struct {
	Sequence *Sequence
	Token    int32
}

// Decode gives each sequence one token, all in one step. It fails if next is
// empty or has a sequence twice or one that is closed, and with a
// *ContextError. On an error none changes.
func (s *Session) Decode(next []Next) error {
	s.forget() // tokens that were picked follow on no step from here on
	if err := s.decodeRows(next); err != nil {
		return err
	}
	logits, err := s.dev.Decode(s.rows, s.wanted)
	if err != nil {
		return err
	}
	s.steps++
	v := s.dev.Vocab()
	for i, n := range next {
		n.Sequence.length++
		n.Sequence.logits = logits[i*v : (i+1)*v : (i+1)*v]
	}
	return nil
}

// decodeRows makes the rows of a decode step, all of them wanted.
func (s *Session) decodeRows(next []Next) error {
	s.rows, s.wanted, s.sources = s.rows[:0], s.wanted[:0], s.sources[:0]
	for i, n := range next {
		if n.Sequence.s != s || slices.ContainsFunc(next[:i], func(o Next) bool { return o.Sequence == n.Sequence }) {
			return fmt.Errorf("session: sequence %d of %d is closed, of another session or given twice", i+1, len(next))
		}
		if n.Sequence.length+1 > s.opts.Context {
			return &ContextError{n.Sequence.length, 1, s.opts.Context}
		}
		source, err := s.follow(&n)
		if err != nil {
			return err
		}
		s.sources = append(s.sources, source)
		s.rows = append(s.rows, ir.Row{Token: n.Token, Position: int32(n.Sequence.length), Slot: n.Sequence.slot})
		s.wanted = append(s.wanted, i)
	}
	return nil
}

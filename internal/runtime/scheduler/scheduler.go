// Package scheduler lets many callers share one session: it decides which rows
// go into the next step. Requests come from any goroutine; one goroutine runs
// the steps.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/runtime/sampling"
)

// Options says how steps are shared. The number of slots, and so of sequences
// at once, is the session's.
type Options struct {
	// Rows of a decode step at most; 0 means as many as a
	// bundle's steps take, program.MaxDecodeRows.
	Rows int
	// Chunk is the number of a prompt's tokens per step; 0 means the session's,
	// which is also the largest.
	Chunk int
	// Turns is how many tokens every sequence that is generating gets between two
	// chunks of prompts; 0 means 1. More favours running texts over new ones.
	Turns int
	// Queue is how many requests may wait while all slots are taken; 0 means none.
	Queue int
}

// maxRows bounds the counts of steps by their rows.
const maxRows = 1 << 16

func (o *Options) complete(sess session.Options) error {
	if o.Rows == 0 {
		o.Rows = program.MaxDecodeRows
	}
	if o.Chunk == 0 {
		o.Chunk = sess.Chunk
	}
	if o.Turns == 0 {
		o.Turns = 1
	}
	if o.Rows < 1 || o.Turns < 1 || o.Queue < 0 {
		return fmt.Errorf("scheduler: rows %d and turns %d must be 1 or more, queue %d 0 or more", o.Rows, o.Turns, o.Queue)
	}
	if o.Rows > maxRows {
		return fmt.Errorf("scheduler: rows %d must be at most %d, more than any step has", o.Rows, maxRows)
	}
	if o.Chunk < 1 || o.Chunk > sess.Chunk {
		return fmt.Errorf("scheduler: found chunk %d, expected 1 to the session's %d", o.Chunk, sess.Chunk)
	}
	return nil
}

// ErrFull is in the error of a request that finds all slots taken and the queue
// full.
var ErrFull = errors.New("scheduler: the queue is full")

// ErrClosed ends requests that Close overtakes and refuses later ones.
var ErrClosed = errors.New("scheduler: closed")

// StepError says in which of its steps a text failed.
type StepError struct {
	Step string // in words
	Err  error  // of the device
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }

// Request asks for the continuation of a prompt.
type Request struct {
	Prompt    []int32 // one token or more
	Head      int     // tokens of it that other prompts begin with too, as far as known
	MaxTokens int     // 0: until a stop token or the end of the context
	Sampling  sampling.Params
	Allowed   *pick.Mask // tokens that may be picked; nil: all
	Stop      []int32    // tokens that end the text; they are not part of it
	// Stream is a part of the random numbers' key, where sampling has the slot. A
	// text depends on prompt, Sampling and Stream and on nothing that runs beside
	// it. Requests that want several texts of one prompt and seed give each its
	// own Stream.
	Stream uint64

	// Scores has the log-probabilities of the tokens generated, PromptScores those
	// of the prompt's, which then takes smaller steps and is read whole, whatever a
	// slot holds of it. Top more tokens come with
	// each, the most probable. The text is the same with and without.
	Scores, PromptScores bool
	Top                  int
	// End, if not nil, is told each token of the text, and ends it by returning true;
	// that token is part of the text. The steps wait for it.
	End func(token int32) bool
	// Progress, if not nil, is told after each of the prompt's steps how many of its
	// tokens are done. The steps wait for it.
	Progress func(done int)
}

func (r *Request) validate(limit, vocab int) error {
	switch {
	case len(r.Prompt) == 0:
		return errors.New("scheduler: the prompt is empty; it needs at least one token")
	case len(r.Prompt) > limit:
		return &session.ContextError{More: len(r.Prompt), Limit: limit}
	case r.Head < 0 || r.Head > len(r.Prompt):
		return fmt.Errorf("scheduler: found a head of %d tokens, of a prompt of %d", r.Head, len(r.Prompt))
	case r.Top < 0:
		return fmt.Errorf("scheduler: found %d probable tokens beside each, expected 0 (none) or more", r.Top)
	case r.MaxTokens < 0:
		return option.Errorf("%s: found %d, expected 0 (no limit) or more", option.Name("MaxTokens"), r.MaxTokens)
	}
	if err := (sampling.Choice{Allowed: r.Allowed}).Check(vocab); err != nil {
		return err
	}
	if err := r.Sampling.Validate(); err != nil {
		return err
	}
	for token := range r.Sampling.Bias {
		if int(token) >= vocab {
			return option.Errorf("%s: found token %d, expected 0 to %d: the model has no others", option.Name("Bias"), token, vocab-1)
		}
	}
	return nil
}

// Scheduler owns a session and runs its steps. Its methods are safe for
// concurrent use.
type Scheduler struct {
	sess *session.Session
	size session.Options
	opts Options
	done chan struct{} // closed when the goroutine has ended every request
	steps

	mu     sync.Mutex
	wake   sync.Cond // a request came, or Close
	queue  []*request
	came   uint64 // requests, so far
	active int    // requests that have a slot
	closed bool
	stats  Stats
}

// New takes over sess, which nobody else may use from now on, and starts the
// goroutine that runs its steps. The caller closes the scheduler, and after
// that the device.
func New(sess *session.Session, o Options) (*Scheduler, error) {
	s, err := newScheduler(sess, o)
	if err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

func newScheduler(sess *session.Session, o Options) (*Scheduler, error) {
	size := sess.Options()
	if err := o.complete(size); err != nil {
		return nil, err
	}
	s := &Scheduler{sess: sess, size: size, opts: o, done: make(chan struct{})}
	s.wake.L = &s.mu
	s.stats.Rows = make([]uint64, o.Rows+1)
	return s, nil
}

// Submit asks for a text. It is refused at once if the request makes no sense
// (a prompt longer than the context gives a *session.ContextError), if ctx has
// ended, with ErrFull or with ErrClosed. Otherwise the text begins when a slot
// is free, in order of arrival. Ending ctx ends it before the next step, or
// takes it out of the queue.
func (s *Scheduler) Submit(ctx context.Context, r Request) (*Generation, error) {
	if err := r.validate(s.size.Context, s.sess.Vocab()); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Prompt, r.Stop = slices.Clone(r.Prompt), slices.Clone(r.Stop)
	q := &request{Request: r, ctx: ctx, chooser: session.NewChooser(r.Sampling, r.Stream, r.Allowed, r.Prompt), gen: newGeneration(r, s.size.Context)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	// The goroutine may not have come round to giving free slots away, so both
	// places count together.
	if s.active+len(s.queue) >= s.size.Slots+s.opts.Queue {
		return nil, fmt.Errorf("%w: %d requests run and %d wait; try again later or allow more to wait", ErrFull, s.active, len(s.queue))
	}
	s.came++
	q.number = s.came
	s.queue = append(s.queue, q)
	s.wake.Signal()
	return q.gen, nil
}

// Close ends all requests with ErrClosed, once the step that is running has
// ended, and returns when the scheduler uses the session no more. Closing again
// waits for the same.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.done
}

// Stats is a look at a scheduler.
type Stats struct {
	Active  int      // requests that have a slot
	Waiting int      // requests that do not have one yet
	Reused  uint64   // tokens of prompts that were there already
	Chunks  uint64   // steps with a part of a prompt
	Decodes uint64   // steps that gave running texts a token
	Ahead   uint64   // of those, how many were begun while the one before ran
	Rows    []uint64 // Rows[n] is how many of the Decodes had n rows
	Cache   session.CacheStats
}

// MeanRows is the mean number of rows of a decode step, 0 before the first.
func (s Stats) MeanRows() float64 {
	sum := uint64(0)
	for n, steps := range s.Rows {
		sum += uint64(n) * steps
	}
	return float64(sum) / float64(max(s.Decodes, 1))
}

// Stats counts steps that succeeded, from the beginning.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Active, out.Waiting, out.Rows = s.active, len(s.queue), slices.Clone(s.stats.Rows)
	return out
}

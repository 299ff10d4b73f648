package scheduler

import (
	"context"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/runtime/sampling"
)

// request is a Request on its way: in the queue without a sequence, then in
// prompts, then in texts.
type request struct {
	Request
	ctx     context.Context
	gen     *Generation
	seq     *session.Sequence
	chooser *session.Chooser
	rest    []int32 // of the prompt
	token   int32   // chosen, and not yet part of the sequence
	made    int     // tokens of the text
	flies   bool    // it has a row in the step that runs ahead
	over    bool    // it has ended

	number uint64   // in order of arrival
	due    []place  // where its prompt is still to be kept, in order
	after  *request // that it waits for, until that has read so many tokens
	until  int
}

// steps is the state of the goroutine that runs steps; no other uses it.
//
// A step is a chunk of one prompt or one token for each of several texts. The
// two alternate while there are both: after a chunk every running text gets its
// Turns tokens before the next chunk. A running text therefore waits for at
// most one chunk per Turns tokens, however long and many the prompts are, and a
// prompt gets on at a rate that does not depend on how long the texts beside it
// become. Prompts take turns by chunks, so that a short one gets through beside
// a long one. The first in each list is the next in turn.
type steps struct {
	prompts []*request // with prompt left
	texts   []*request // with a token to decode
	owed    int        // decode steps before the next chunk

	flights [2]flight // decode steps: the one that runs, and the one that runs ahead of it
	turn    int       // which of them comes next
	choices []sampling.Choice
	picked  []int32
	asks    []program.Ask  // of the step that runs, for scores
	scores  []device.Score // of those
}

func (s *Scheduler) run() {
	defer close(s.done)
	for s.boundary() {
		// A step that was begun ahead comes first: what it computed lies where the next
		// step's goes.
		if len(s.flights[s.turn].rows) == 0 && len(s.prompts) > 0 && (s.owed <= 0 || len(s.texts) == 0) {
			s.prefill()
		} else {
			s.decode()
		}
	}
	for _, r := range slices.Concat(s.prompts, s.texts) {
		s.release(r, "", ErrClosed)
	}
	s.flights[s.turn].drop(func(r *request) bool {
		s.release(r, "", ErrClosed)
		return true
	})
	s.sess.Forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Cache = s.sess.CacheStats()
	for _, r := range s.queue {
		r.gen.end("", ErrClosed)
	}
	s.queue = nil
}

// boundary works between two steps: it ends cancelled requests, gives free slots to those
// that wait, and sleeps while there is nothing to do. It reports whether a step is to run;
// none is after Close.
func (s *Scheduler) boundary() bool {
	cancelled := func(r *request) bool {
		if !r.cancelled() {
			return false
		}
		s.release(r, session.StopCancelled, nil)
		return true
	}
	s.prompts = slices.DeleteFunc(s.prompts, cancelled)
	s.texts = slices.DeleteFunc(s.texts, cancelled)
	s.flights[s.turn].drop(cancelled)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		s.admit()
		s.stats.Cache = s.sess.CacheStats()
		if s.active > 0 {
			return true
		}
		s.wake.Wait()
	}
	return false
}

// cancelled tells whether somebody has ended the text.
func (r *request) cancelled() bool { return r.gen.cancel.Load() || r.ctx.Err() != nil }

// admit moves requests from the queue to free slots: all but those that wait for what
// another reads. s.mu is held, but not while a slot is made ready: that may take long.
func (s *Scheduler) admit() {
	for {
		r := s.admissible()
		if r == nil {
			return
		}
		s.active++
		s.mu.Unlock()
		err := r.open(s.sess)
		s.mu.Lock()
		if err != nil {
			s.active--
			r.gen.end("", err)
			continue
		}
		s.stats.Reused += uint64(r.seq.Len())
		s.prompts = append(s.prompts, r)
	}
}

// admissible takes the next request that may begin out of the queue, and those that were
// cancelled; nil if there is none.
func (s *Scheduler) admissible() (next *request) {
	s.queue = slices.DeleteFunc(s.queue, func(r *request) bool {
		switch {
		case r.cancelled():
			r.gen.end(session.StopCancelled, nil)
			return true
		case next != nil || s.active == s.size.Slots || s.waits(r):
			return false
		}
		next, r.after = r, nil
		return true
	})
	return next
}

// open gives the request a slot, with what is kept of the beginning of its prompt. Who
// asks for scores of the prompt has all of it read.
func (r *request) open(sess *session.Session) (err error) {
	if r.PromptScores {
		r.seq, err = sess.Open()
	} else {
		r.seq, err = sess.OpenFor(r.Prompt)
	}
	if err != nil {
		return err
	}
	r.rest = r.Prompt[r.seq.Len():]
	r.plan(sess)
	r.gen.reuse(r.seq.Len(), r.seq.End())
	return nil
}

// release gives the slot back and ends the text, in this order: who waits for
// the end finds the slot free. What an error ended leaves nothing in it, nor beside.
func (s *Scheduler) release(r *request, reason session.StopReason, err error) {
	if err != nil {
		r.seq.Fail(r.tokens(), r.made == 0)
	} else {
		r.seq.Keep(r.tokens())
	}
	r.over = true
	s.mu.Lock()
	s.active--
	s.mu.Unlock()
	r.gen.end(reason, err)
}

// tokens are those of prompt and text so far. Only the goroutine that runs steps, which
// asks, adds any.
func (r *request) tokens() []int32 { return slices.Concat(r.Prompt, r.gen.tokens) }

// prefill runs one chunk of the prompt whose turn it is.
func (s *Scheduler) prefill() {
	r := s.prompts[0]
	s.prompts = slices.Delete(s.prompts, 0, 1)
	at, n := r.seq.Len(), s.chunk(r)
	r.gen.begin()
	token, score, err := r.read(n)
	if err == nil {
		err = r.mark()
	}
	if err != nil {
		s.release(r, "", &StepError{fmt.Sprintf("prompt, tokens %d to %d of %d", at, at+n-1, len(r.Prompt)), err})
	} else {
		s.count(0)
		r.rest = r.rest[n:]
		done := len(r.Prompt) - len(r.rest)
		r.gen.readPrompt(done)
		if r.Progress != nil {
			r.Progress(done)
		}
		if len(r.rest) > 0 {
			s.prompts = append(s.prompts, r)
		} else {
			s.goOn(r, token, score)
		}
	}
	// Steps until the slowest text has its turns, n of them sharing the rows.
	if n := len(s.texts); n > 0 {
		width := min(n, s.opts.Rows)
		s.owed = (s.opts.Turns*n + width - 1) / width
	}
}

// read gives the sequence the next n tokens of its prompt, and picks the token
// after the last of all, with its score if the request asks for scores.
func (r *request) read(n int) (token int32, score Score, err error) {
	last, choice := n == len(r.rest), r.chooser.Choice(r.seq.Len()+n)
	switch {
	case r.PromptScores:
		if err = r.readScored(n, last); err == nil && last {
			token = r.seq.Pick(choice)
		}
	case last:
		token, err = r.seq.ExtendSample(r.rest, choice)
	default:
		err = r.seq.ExtendStep(r.rest[:n], false)
	}
	if err == nil && last && r.Scores && token >= 0 {
		var of device.Score
		of, err = r.seq.Score(token, r.Top)
		score = scoreOf(of)
	}
	return token, score, err
}

// readScored reads the next n tokens of the prompt with the scores of those after them.
func (r *request) readScored(n int, last bool) error {
	targets := r.rest[1:min(n+1, len(r.rest))] // nothing of the prompt follows the last
	scores := make([]device.Score, len(targets))
	if err := r.seq.ExtendScores(r.rest[:n], 0, targets, r.Top, scores, last); err != nil {
		return err
	}
	for _, score := range scores {
		r.gen.addPrompt(scoreOf(score))
	}
	return nil
}

// scoreOf is a score as requests get it.
func scoreOf(s device.Score) Score { return Score{s.LogProb, s.Top} }

// goOn takes the token picked after the newest one, with its score if the request asks for
// scores, and puts the request at the end of texts, or ends it. The rules
// are those of session.Sequence.Generate.
func (s *Scheduler) goOn(r *request, token int32, score Score) {
	length := r.seq.Len()
	if r.flies { // it has the token already
		length--
	}
	switch {
	case length >= s.size.Context:
		s.release(r, session.StopContext, nil)
	case token < 0:
		s.release(r, "", fmt.Errorf("position %d: %w", length, sampling.ErrNoLogits))
	case slices.Contains(r.Stop, token):
		s.release(r, session.StopToken, nil)
	default:
		s.accept(r, token, score)
	}
}

// accept makes the token a part of the text, which may end it.
func (s *Scheduler) accept(r *request, token int32, score Score) {
	n := r.add(token, score)
	r.made = n
	switch {
	case r.End != nil && r.End(token):
		s.release(r, session.StopString, nil)
	case n == r.MaxTokens: // the last token's logits are not needed
		s.release(r, session.StopLength, nil)
	default:
		r.chooser.Add(token)
		r.token = token
		if !r.flies { // else its next step has begun
			s.texts = append(s.texts, r)
		}
	}
}

// add hands out a token, and returns how many there are now.
func (r *request) add(token int32, score Score) int {
	if !r.Scores {
		return r.gen.add(token)
	}
	return r.gen.add(token, score)
}

// count notes a step of decoded rows, or of a chunk if there are none.
func (s *Scheduler) count(rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rows == 0 {
		s.stats.Chunks++
		return
	}
	s.stats.Decodes++
	s.stats.Rows[rows]++
}

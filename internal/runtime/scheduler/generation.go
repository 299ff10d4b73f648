package scheduler

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/runtime/sampling"
)

// Generation is a text on its way. Tokens are kept until they are read, so a
// slow reader holds up nobody. Its methods are safe for concurrent use.
type Generation struct {
	mu     sync.Mutex
	more   sync.Cond
	cancel atomic.Bool
	tokens []int32
	scores []Score // of tokens; empty unless asked for
	prompt []Score // of the prompt's, from the second on
	ended  bool
	reason session.StopReason
	err    error

	length, read      int        // tokens of the prompt: all, and those that the slot has
	found             prefix.End // of those, what was kept from before
	began, text, over time.Time
}

// Score tells how probable a token was.
type Score struct {
	LogProb float64             // natural logarithm, before temperature and filters
	Top     []sampling.Probable // the most probable tokens in its place, best first
}

// firstRoom is how many tokens are made room for at once. Longer texts grow.
const firstRoom = 1024

func newGeneration(r Request, limit int) *Generation {
	most := limit - len(r.Prompt)
	if r.MaxTokens > 0 {
		most = min(most, r.MaxTokens)
	}
	g := &Generation{tokens: make([]int32, 0, min(most, firstRoom)), length: len(r.Prompt)}
	g.more.L = &g.mu
	return g
}

// Cancel ends the text before the next step, as the end of the request's context
// does.
func (g *Generation) Cancel() { g.cancel.Store(true) }

// Tokens yields all tokens from the first, as they come, until the text has
// ended. Each call begins anew.
func (g *Generation) Tokens() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := 0; ; i++ {
			token, _, ok := g.at(i)
			if !ok || !yield(token) {
				return
			}
		}
	}
}

// Scored is Tokens with the score of each, which is zero unless the request asked
// for scores.
func (g *Generation) Scored() iter.Seq2[int32, Score] {
	return func(yield func(int32, Score) bool) {
		for i := 0; ; i++ {
			token, score, ok := g.at(i)
			if !ok || !yield(token, score) {
				return
			}
		}
	}
}

// at waits for the token at index i; it reports false if the text ends before.
func (g *Generation) at(i int) (token int32, s Score, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i >= len(g.tokens) && !g.ended {
		g.more.Wait()
	}
	if i >= len(g.tokens) {
		return 0, Score{}, false
	}
	if i < len(g.scores) {
		s = g.scores[i]
	}
	return g.tokens[i], s, true
}

// Wait returns the tokens when the text has ended, and why it did: a reason, or
// an error and no reason. The end of the request's context is the reason
// StopCancelled and no error. Tokens that came before an error are returned too.
func (g *Generation) Wait() ([]int32, session.StopReason, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.ended {
		g.more.Wait()
	}
	return slices.Clone(g.tokens), g.reason, g.err
}

// PromptReport tells what became of a prompt.
type PromptReport struct {
	Read   int        // tokens that were read, or were kept from before
	Reused int        // of those, how many were kept
	End    prefix.End // why no more were
	Scores []Score    // of the tokens from the second on, if the request asked for them
}

// Prompt reports on the prompt, once the text has ended.
func (g *Generation) Prompt() PromptReport {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.ended {
		g.more.Wait()
	}
	return PromptReport{g.read, g.found.Reused, g.found, g.prompt}
}

// Times are how long the prompt took, from the first of its steps, and the text
// after it, so far. Waiting for a slot does not count.
func (g *Generation) Times() (prompt, text time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.over
	if !g.ended {
		now = time.Now()
	}
	switch {
	case g.began.IsZero():
		return 0, 0
	case g.text.IsZero():
		return now.Sub(g.began), 0
	}
	return g.text.Sub(g.began), now.Sub(g.text)
}

// begin notes when the first step begins.
func (g *Generation) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.began.IsZero() {
		g.began = time.Now()
	}
}

// readPrompt notes how many of the prompt's tokens are read.
func (g *Generation) readPrompt(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.read = n
	if n == g.length {
		g.text = time.Now()
	}
}

// reuse notes how many of the prompt's tokens were kept, and why no more.
func (g *Generation) reuse(n int, end prefix.End) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.read, g.found = n, end
}

func (g *Generation) addPrompt(s Score) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prompt = append(g.prompt, s)
}

// add appends a token, with its score if there is one, and returns how many there
// are.
func (g *Generation) add(token int32, s ...Score) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = append(g.tokens, token)
	g.scores = append(g.scores, s...)
	g.more.Broadcast()
	return len(g.tokens)
}

func (g *Generation) end(reason session.StopReason, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended, g.reason, g.err, g.over = true, reason, err, time.Now()
	g.more.Broadcast()
}

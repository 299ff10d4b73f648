package scheduler

import (
	"iter"
	"slices"
	"sync"

	"smelt/runtime/session"
)

// Generation is a text on its way. Tokens are kept until they are read, so a
// slow reader holds up nobody. Its methods are safe for concurrent use.
type Generation struct {
	mu     sync.Mutex
	more   sync.Cond
	tokens []int32
	ended  bool
	reason session.StopReason
	err    error
}

// firstRoom is how many tokens are made room for at once. Longer texts grow.
const firstRoom = 1024

func newGeneration(r Request, limit int) *Generation {
	most := limit - len(r.Prompt)
	if r.MaxTokens > 0 {
		most = min(most, r.MaxTokens)
	}
	g := &Generation{tokens: make([]int32, 0, min(most, firstRoom))}
	g.more.L = &g.mu
	return g
}

// Tokens yields all tokens from the first, as they come, until the text has
// ended. Each call begins anew.
func (g *Generation) Tokens() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := 0; ; i++ {
			token, ok := g.at(i)
			if !ok || !yield(token) {
				return
			}
		}
	}
}

// at waits for the token at index i; it reports false if the text ends before.
func (g *Generation) at(i int) (int32, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i >= len(g.tokens) && !g.ended {
		g.more.Wait()
	}
	if i >= len(g.tokens) {
		return 0, false
	}
	return g.tokens[i], true
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

// add appends a token and returns how many there are.
func (g *Generation) add(token int32) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = append(g.tokens, token)
	g.more.Broadcast()
	return len(g.tokens)
}

func (g *Generation) end(reason session.StopReason, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended, g.reason, g.err = true, reason, err
	g.more.Broadcast()
}

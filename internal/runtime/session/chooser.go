package session

import (
	"maps"
	"slices"

	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/runtime/sampling"
)

// Chooser makes the choices of one text: it knows the tokens that the text has, which
// penalties go by, and those that it prefers. What it makes of them is exact, so a text is the same on all
// devices. It is not safe for concurrent use.
type Chooser struct {
	// Allowed says which tokens may be picked next; nil allows all.
	Allowed *pick.Mask

	params    sampling.Params
	penalties pick.Penalties
	stream    uint64
	changes   *pick.Changes // nil if nothing is penalised
	counts    []int         // how often the text has each token of changes, prompt left out
}

// NewChooser prepares for the text that follows a prompt, with a stream of random
// numbers. The parameters must be valid.
func NewChooser(p sampling.Params, stream uint64, allowed *pick.Mask, prompt []int32) *Chooser {
	c := &Chooser{Allowed: allowed, params: p, stream: stream, penalties: p.Penalties()}
	c.penalties.Bias = maps.Clone(c.penalties.Bias) // the caller's may change meanwhile
	if c.changes = c.penalties.Changes(prompt); c.changes != nil {
		c.counts = make([]int, len(c.changes.Tokens))
	}
	return c
}

// Add tells that the text has one token more.
func (c *Chooser) Add(token int32) {
	if c.changes == nil {
		return
	}
	at, known := slices.BinarySearchFunc(c.changes.Tokens, token, func(x pick.Change, t int32) int { return int(x.Token - t) })
	if !known {
		c.changes.Tokens = slices.Insert(c.changes.Tokens, at, pick.Change{Token: token})
		c.counts = slices.Insert(c.counts, at, 0)
	}
	c.counts[at]++
	c.changes.Tokens[at] = pick.Change{Token: token, Less: c.penalties.Less(token, c.counts[at])}
}

// Changed is how many logits the next choice changes.
func (c *Chooser) Changed() int {
	if c.changes == nil {
		return 0
	}
	return len(c.changes.Tokens)
}

// Choice is how the token at a position is picked. It holds until the next Add.
func (c *Chooser) Choice(position int) sampling.Choice {
	choice := c.params.Choice(c.stream, uint64(position))
	choice.Allowed, choice.Changes = c.Allowed, c.changes
	return choice
}

// Package engine says what the server needs of whatever runs a model. The server knows
// models by this package only.
package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models/tokenizer"
	"smelt.example/smelt/runtime/sampling"
)

var (
	// ErrBusy: as many texts run and wait as may.
	ErrBusy = errors.New("the queue is full")
	// ErrClosed: the engine is shutting down.
	ErrClosed = errors.New("the server is shutting down")
	// ErrNoChat: the model was not made for chat.
	ErrNoChat = errors.New("this model was not made for chat; use /v1/completions")
)

// Model is an open model as clients see it.
type Model struct {
	ID      string
	Created time.Time
	Context int // tokens of the longest text, prompt included
	Slots   int // texts at once
	Texts   int // that may run and wait
	Vocab   int
	Longest int // bytes of the longest token; 0 if nobody knows

	Format    chat.Format // nil if the model was not made for chat
	Tokenizer *tokenizer.Tokenizer
	// WithBOS puts the begin-of-sentence token before a text's tokens.
	WithBOS func(ids []int32) []int32
	// Suggested is how the checkpoint suggests to sample, and Stop before which strings
	// to end a text.
	Suggested sampling.Params
	Stop      []string
}

// Request asks for the continuation of Tokens.
type Request struct {
	Tokens    []int32
	Head      int // of Tokens, those that other prompts begin with too; 0 if that is not known
	MaxTokens int // 1 or more
	Sampling  sampling.Params
	// Stream tells texts of one prompt and seed apart.
	Stream uint64
	// LogProbs has the probability of each token, and those of Top more in its place.
	LogProbs bool
	Top      int
}

// Step is a token of a text.
type Step struct {
	ID      int32
	LogProb float64 // natural logarithm, before temperature and filters
	Top     []sampling.Probable
}

// Result is what there is to say about a text that has ended.
type Result struct {
	// Ended: the model ended the text. Otherwise it came to MaxTokens, to the end of
	// the context, or was cancelled.
	Ended bool
	// Cached is how many tokens of the prompt were not computed but kept from before,
	// and Why says why not more.
	Cached int
	Why    string
	// Known are tokens that are known to follow on the first At ones of the prompt, where
	// that has others.
	Known []int32
	At    int
	// Queued is how long the text waited for a slot, Prompt how long its prompt took.
	Queued, Prompt time.Duration
}

// Text is a text on its way.
type Text interface {
	// Steps yields the tokens as they come. An error ends it.
	Steps() iter.Seq2[Step, error]
	// Result waits for the end.
	Result() Result
}

// Score is the probability of a prompt's token, and those of the most probable ones in
// its place.
type Score struct {
	LogProb float64
	Top     []sampling.Probable
}

// Engine runs a model. Its methods are safe for concurrent use.
type Engine interface {
	Model() *Model
	// Start begins a text, or a wait for a slot. The end of ctx ends the text.
	// The error may be ErrBusy or ErrClosed.
	Start(ctx context.Context, r Request) (Text, error)
	// Score gives the probabilities of a prompt's tokens from the second on.
	Score(ctx context.Context, tokens []int32, top int) ([]Score, error)
	// Cache counts what was kept of prompts and texts, and of what use it was.
	Cache() Cache
}

// Cache is what is kept of prompts and texts that have lost their slot. Counts are from the
// beginning.
type Cache struct {
	Bytes, Room      int64 // taken, of how much
	Pages, Frontiers int   // pieces, and places that can be gone on from
	// Hits are prompts that went on from what was kept, by the kind of place, or in their
	// slot; Reused are the tokens that were restored so.
	Hits   map[string]uint64
	Reused uint64
	// Ends are prompts by the reason why no more of them was there.
	Ends map[string]uint64
	// Evictions, Refused and Dropped are places that made room, found none, and were not trusted.
	Evictions, Refused, Dropped uint64
	Restoring                   time.Duration
}

// Parser reads the tokens of an answer.
func (m *Model) Parser(o chat.ParseOptions) *chat.TokenParser {
	return chat.NewTokenParser(m.Format, o, m.Tokenizer, m.Tokenizer.NewStream(false))
}

// Encode makes tokens of a text. Special tokens in it count only if asked for.
func (m *Model) Encode(text string, special bool) ([]int32, error) {
	if special {
		return m.Tokenizer.Encode(text)
	}
	return m.Tokenizer.EncodeOrdinary(text)
}

// Least is how many tokens a text of so many bytes has at least.
func (m *Model) Least(bytes int) int {
	if m.Longest == 0 {
		return 0
	}
	return (bytes + m.Longest - 1) / m.Longest
}

// Measure finds the longest token.
func (m *Model) Measure() {
	m.Longest = 0
	for id := range m.Vocab {
		m.Longest = max(m.Longest, len(m.Spell(int32(id))))
	}
}

// Check refuses tokens that are none of the model's.
func (m *Model) Check(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= m.Vocab {
			return fmt.Errorf("token %d is %d, expected 0 to %d", i+1, id, m.Vocab-1)
		}
	}
	return nil
}

// Spell is the text of one token, which may be no whole character.
func (m *Model) Spell(id int32) string {
	s := m.Tokenizer.NewStream(false)
	text, err := s.Push(id)
	if err != nil {
		return ""
	}
	return text + s.Flush()
}

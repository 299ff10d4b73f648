package turn

import (
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models/tokenizer"
)

// reader makes deltas of tokens. A *chat.TokenParser is one.
type reader interface {
	Push(id int32) ([]chat.Delta, error)
	End() []chat.Delta
	Done() bool
	Err() error
	Control(id int32) bool
}

// plain takes all tokens for content.
type plain struct{ stream *tokenizer.Stream }

func (p plain) deltas(text string) []chat.Delta {
	if text == "" {
		return nil
	}
	return []chat.Delta{{Kind: chat.DeltaContent, Text: text}}
}

// Push reads a token.
func (p plain) Push(id int32) ([]chat.Delta, error) {
	text, err := p.stream.Push(id)
	return p.deltas(text), err
}

// End returns what was held back.
func (p plain) End() []chat.Delta { return p.deltas(p.stream.Flush()) }

// Done is never.
func (plain) Done() bool { return false }

// Err is nil: plain text has no markup.
func (plain) Err() error { return nil }

// Control is of no token.
func (plain) Control(int32) bool { return false }

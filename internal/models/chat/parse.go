package chat

import (
	"fmt"
	"strings"
)

// Stage is where in an assistant's turn a text begins.
type Stage int

const (
	InContent   Stage = iota // in the answer
	InReasoning              // in the reasoning before it
	InCalls                  // in calls of tools that the prompt opened
)

// ParseOptions say what a Parser reads.
type ParseOptions struct {
	Stage Stage
	// Tools says that the model was shown tools; without them, calls are text.
	Tools bool
	// Spelling finds special tokens in text by their spelling. It is for text whose
	// tokens are not known: with segments that keep them apart, text that looks like
	// one stays text.
	Spelling bool
}

// A Parser reads what a model generates in an assistant's turn, piece by piece. The
// deltas come as early as they are certain and, for every way of cutting the text,
// concatenate to the same message. It is for one text and one goroutine.
type Parser interface {
	// Push reads the next piece and returns the deltas that are certain now. A piece
	// may end inside a character.
	Push(Segment) []Delta
	// End says that nothing follows and returns what was held back.
	End() []Delta
	// Done reports that nothing that follows can change the message: what was read has
	// ended the turn.
	Done() bool
	// Err is a *MarkupError for the first place where the markup of calls was not the
	// format's; the message then has what could be read.
	Err() error
}

// MarkupError says where generated markup is not the format's.
type MarkupError struct{ Found, Expected string }

func (e *MarkupError) Error() string {
	return fmt.Sprintf("chat: the model's tool calls: found %s, expected %s", e.Found, e.Expected)
}

// DeltaKind says which part of a message a Delta continues.
type DeltaKind int

const (
	DeltaReasoning DeltaKind = iota + 1
	DeltaContent
	DeltaCall      // begins a call; Text is its whole name
	DeltaArguments // continues the call's arguments
)

// Delta is a piece of a message on its way. Deltas come in the order of their kinds,
// call after call.
type Delta struct {
	Kind DeltaKind
	Call int // the index of the call, from 0
	Text string
}

// Add continues the message by a delta.
func (m *Message) Add(d Delta) {
	switch d.Kind {
	case DeltaReasoning:
		m.Reasoning += d.Text
	case DeltaContent:
		m.Content += d.Text
	case DeltaCall:
		m.ToolCalls = append(m.ToolCalls, ToolCall{Name: d.Text})
	case DeltaArguments:
		m.ToolCalls[d.Call].Arguments += d.Text
	}
}

// message makes a message of an assistant's deltas.
func message(deltas []Delta) Message {
	m := Message{Role: RoleAssistant}
	for _, d := range Join(deltas) {
		m.Add(d)
	}
	return m
}

// Join puts neighbours together that continue the same part of a message.
func Join(deltas []Delta) []Delta {
	var out []Delta
	for len(deltas) > 0 {
		first, n := deltas[0], 1
		for n < len(deltas) && first.Kind != DeltaCall && deltas[n].Kind == first.Kind && deltas[n].Call == first.Call {
			n++
		}
		var text strings.Builder
		for _, d := range deltas[:n] {
			text.WriteString(d.Text)
		}
		first.Text = text.String()
		out, deltas = append(out, first), deltas[n:]
	}
	return out
}

// Parse reads a whole text. The message holds what could be read even if there is an
// error, which is the parser's.
func Parse(f Format, text []Segment, o ParseOptions) (Message, error) {
	p := f.Parser(o)
	var deltas []Delta
	for _, s := range text {
		deltas = append(deltas, p.Push(s)...)
	}
	return message(append(deltas, p.End()...)), p.Err()
}

// TokenDecoder is the part of a tokenizer's stream that a TokenParser needs.
type TokenDecoder interface {
	// Push adds a token and returns the text that is certain now, Flush the rest.
	Push(id int32) (string, error)
	Flush() string
}

// TokenParser is a Parser of token ids. It tells a format's special tokens from text
// that looks like them.
type TokenParser struct {
	parser   Parser
	decoder  TokenDecoder
	controls map[int32]string
}

// NewTokenParser begins a text. The encoder and the decoder are of one tokenizer.
func NewTokenParser(f Format, o ParseOptions, tok TokenEncoder, decoder TokenDecoder) *TokenParser {
	o.Spelling = false
	p := &TokenParser{parser: f.Parser(o), decoder: decoder, controls: map[int32]string{}}
	for _, text := range f.Controls() {
		if id, ok := tok.TokenID(text); ok {
			p.controls[id] = text
		}
	}
	return p
}

// Push reads a token. The error is the decoder's.
func (p *TokenParser) Push(id int32) ([]Delta, error) {
	if control, ok := p.controls[id]; ok {
		rest := p.decoder.Flush() // before a control token an incomplete character stays one
		return append(p.push(rest), p.parser.Push(Segment{Text: control, Special: true})...), nil
	}
	text, err := p.decoder.Push(id)
	return p.push(text), err
}

func (p *TokenParser) push(text string) []Delta {
	if text == "" {
		return nil
	}
	return p.parser.Push(Segment{Text: text})
}

// End says that nothing follows and returns what was held back.
func (p *TokenParser) End() []Delta {
	return append(p.push(p.decoder.Flush()), p.parser.End()...)
}

// Done is the Parser's.
func (p *TokenParser) Done() bool { return p.parser.Done() }

// Control tells whether a token is one of the format's special tokens, and so no text.
func (p *TokenParser) Control(id int32) bool {
	_, ok := p.controls[id]
	return ok
}

// Err is the Parser's.
func (p *TokenParser) Err() error { return p.parser.Err() }

// ParseTokens reads a whole text of token ids. The error is the decoder's or the
// parser's; the message holds what could be read.
func ParseTokens(p *TokenParser, ids []int32) (Message, error) {
	var deltas []Delta
	for _, id := range ids {
		more, err := p.Push(id)
		deltas = append(deltas, more...)
		if err != nil {
			return message(deltas), err
		}
	}
	return message(append(deltas, p.End()...)), p.Err()
}

package smelt

import (
	"errors"
	"iter"
	"slices"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models/tokenizer"
)

// answer is how to read the answer to messages.
type answer struct {
	format  chat.Format
	options chat.ParseOptions
}

// answer is how to read the text that a request with messages gets, else nil.
func (f *Files) answer(r Request) *answer {
	if r.Messages == nil {
		return nil
	}
	tools := slices.ContainsFunc(r.Messages, func(m Message) bool { return len(m.Tools) > 0 })
	return &answer{f.Model.Chat, chat.ParseOptions{Stage: r.turn().Stage(r.Messages), Tools: tools}}
}

// turn is how the answer to the messages begins.
func (r Request) turn() chat.Options {
	if r.Think {
		return chat.Options{Mode: chat.Thinking, Effort: r.Effort}
	}
	return chat.Options{Effort: r.Effort}
}

// parse reads the tokens of a text, up to where a string ended it.
func (a *answer) parse(tok *tokenizer.Tokenizer, tokens []int32, r Result) (Message, error) {
	var decoder chat.TokenDecoder = tok.NewStream(false)
	if r.StopString != "" {
		kept, plain, bytes := cutTokens(tok, a.format.Controls(), tokens, r.Text)
		decoder, tokens = &limited{TokenDecoder: decoder, others: plain, bytes: bytes}, kept
	}
	return chat.ParseTokens(chat.NewTokenParser(a.format, a.options, tok, decoder), tokens)
}

// spellings are the tokens of a message's texts, as they stand between control tokens.
func (a *answer) spellings(tok *tokenizer.Tokenizer, tokens []int32, m Message) (all []chat.Spelling) {
	controls := a.format.Controls()
	for len(tokens) > 0 {
		n := slices.IndexFunc(tokens, func(id int32) bool {
			text, _ := tok.Token(id)
			return slices.Contains(controls, text)
		})
		if n < 0 {
			n = len(tokens)
		}
		for _, text := range []string{m.Reasoning, m.Content} {
			if s := (chat.Spelling{Text: text, Tokens: tokens[:n:n]}); text != "" && faithful(tok, s) {
				all = append(all, s)
			}
		}
		tokens = tokens[min(n+1, len(tokens)):]
	}
	return all
}

// faithful tells whether tokens are ordinary ones, and their text the one that they are said to
// stand for.
func faithful(tok *tokenizer.Tokenizer, s chat.Spelling) bool {
	if slices.ContainsFunc(s.Tokens, tok.IsSpecial) {
		return false
	}
	text, err := tok.Decode(s.Tokens)
	return err == nil && text == s.Text
}

// withFaithful are messages without spellings of other texts than they say.
func withFaithful(tok *tokenizer.Tokenizer, messages []Message) []Message {
	all := slices.Clone(messages)
	for i, m := range all {
		all[i].Spellings = slices.DeleteFunc(slices.Clone(m.Spellings), func(s chat.Spelling) bool { return !faithful(tok, s) })
	}
	return all
}

// Answer yields the answer to a request's Messages in pieces as it comes, from the
// beginning. Each piece is a Message that has what is new, of one kind: some of the
// Reasoning, some of the Content, or one of ToolCalls, with its Name where the call
// begins, else with more Arguments of the call before. Put together they are
// Result.Message but for its Spellings. An error ends the answer: that of the device, or ctx's; where the request
// has no Messages it is an ErrNoChat. Leaving the loop before stops the text.
func (g *Generation) Answer() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if g.chat == nil {
			g.Stop()
			yield(Message{}, ErrNoChat)
			return
		}
		s := newAnswerStream(g)
		for id := range g.gen.Tokens() {
			for _, piece := range s.push(id) {
				if !yield(piece, nil) {
					g.Stop()
					return
				}
			}
		}
		result, err := g.Wait()
		for _, piece := range s.rest(result.Message) {
			if !yield(piece, nil) {
				return
			}
		}
		if err != nil {
			yield(Message{}, err)
		}
	}
}

// answerStream takes an answer apart while it comes. Tokens wait until it is certain that
// no string which ends the text begins in them.
type answerStream struct {
	decoder decoder           // up to such a string
	stream  *tokenizer.Stream // beyond
	parser  *chat.TokenParser

	waiting        []waiting
	certain, bytes int // of the text: those that will stay, and all
	sent           Message
}

// waiting is a token, and how long the text is with it.
type waiting struct {
	id    int32
	bytes int
}

func newAnswerStream(g *Generation) *answerStream {
	return &answerStream{
		decoder: newDecoder(g.tok, g.stops),
		stream:  g.tok.NewStream(false),
		parser:  chat.NewTokenParser(g.chat.format, g.chat.options, g.tok, g.tok.NewStream(false)),
	}
}

// push reads a token and returns what is certain now. A token without text is none of an
// answer; Wait's error tells of it.
func (s *answerStream) push(id int32) (pieces []Message) {
	certain, err := s.decoder.push(id)
	text, more := s.stream.Push(id)
	if errors.Join(err, more) != nil {
		return nil
	}
	s.certain, s.bytes = s.certain+len(certain), s.bytes+len(text)
	s.waiting = append(s.waiting, waiting{id, s.bytes})
	for len(s.waiting) > 0 && s.waiting[0].bytes <= s.certain && s.decoder.found() == "" {
		deltas, err := s.parser.Push(s.waiting[0].id)
		if err != nil {
			return pieces
		}
		s.waiting = s.waiting[1:]
		for _, d := range deltas {
			pieces = append(pieces, piece(d))
			s.sent.Add(d)
		}
	}
	return pieces
}

// piece is a delta as a message.
func piece(d chat.Delta) Message {
	m := Message{Role: RoleAssistant}
	switch d.Kind {
	case chat.DeltaReasoning:
		m.Reasoning = d.Text
	case chat.DeltaContent:
		m.Content = d.Text
	case chat.DeltaCall:
		m.ToolCalls = []chat.ToolCall{{Name: d.Text}}
	case chat.DeltaArguments:
		m.ToolCalls = []chat.ToolCall{{Arguments: d.Text}}
	}
	return m
}

// rest is what the whole message has beyond what was sent of it.
func (s *answerStream) rest(whole Message) (pieces []Message) {
	add := func(kind chat.DeltaKind, text string) {
		if text != "" {
			pieces = append(pieces, piece(chat.Delta{Kind: kind, Text: text}))
		}
	}
	add(chat.DeltaReasoning, beyond(whole.Reasoning, s.sent.Reasoning))
	add(chat.DeltaContent, beyond(whole.Content, s.sent.Content))
	for i, call := range whole.ToolCalls {
		had := ""
		if i < len(s.sent.ToolCalls) {
			had = s.sent.ToolCalls[i].Arguments
		} else {
			add(chat.DeltaCall, call.Name)
		}
		add(chat.DeltaArguments, beyond(call.Arguments, had))
	}
	return pieces
}

// beyond is what a text has more than its beginning.
func beyond(text, beginning string) string { return text[min(len(beginning), len(text)):] }

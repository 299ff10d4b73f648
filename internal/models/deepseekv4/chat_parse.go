package deepseekv4

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"smelt.example/smelt/internal/models/chat"
)

// In the text ahead of a parser a special token is one byte that no UTF-8 has. So no
// text can pose as one, and markup is found by searching for strings.
const (
	dsml     = "\xf8"
	think    = "\xf9"
	endThink = "\xfa"
	ending   = "\xfb" // of the turn
)

// controls are the special tokens that have marks.
var controls = []struct{ text, mark string }{
	{tokenDSML, dsml}, {tokenThink, think}, {tokenEndThink, endThink}, {tokenEnd, ending},
	{tokenBegin, ending}, {tokenUser, ending}, {tokenAssistant, ending}, // the model ran on
}

// spelled puts back what marks stand for.
var spelled = strings.NewReplacer(dsml, tokenDSML, think, tokenThink, endThink, tokenEndThink, ending, tokenEnd)

// Controls are the special tokens that Parser minds.
func (ChatFormat) Controls() []string {
	var texts []string
	for _, c := range controls {
		texts = append(texts, c.text)
	}
	return texts
}

// Parser reads what the model generates in an assistant's turn. A call inside the
// reasoning ends that. Newlines beside the end of the reasoning are kept; up to two
// before a block of calls belong to the block. Behind it nothing is read.
func (ChatFormat) Parser(o chat.ParseOptions) chat.Parser {
	p := &parser{tools: o.Tools, spelling: o.Spelling, kind: chat.DeltaContent, state: (*parser).text}
	p.call = -1
	switch o.Stage {
	case chat.InReasoning:
		p.kind = chat.DeltaReasoning
	case chat.InCalls:
		p.state = (*parser).tag
	}
	return p
}

// parser is a chat.Parser: a machine whose state reads the text ahead.
type parser struct {
	tools, spelling bool
	held            string // what may be the beginning of a character or a special token
	ahead           string // whole characters and marks that no state has consumed
	state           state
	kind            chat.DeltaKind // of the text outside calls
	begun           bool           // something of the reasoning was read
	out             []chat.Delta   // of this push
	callState
	over bool // the turn has ended
	err  error
}

// state consumes some of the text ahead, and may change the state. It reports whether
// there is more to do before the next piece; end says that none follows.
type state func(p *parser, end bool) bool

// Push reads the next piece.
func (p *parser) Push(s chat.Segment) []chat.Delta {
	if s.Special {
		p.characters("", true) // before a special token an incomplete character stays one
		p.ahead += marked(s.Text)
	} else {
		p.characters(s.Text, false)
	}
	return p.run(false)
}

// End reads what was held back.
func (p *parser) End() []chat.Delta {
	p.characters("", true)
	return p.run(true)
}

// Err is about the first place with broken markup.
func (p *parser) Err() error { return p.err }

func (p *parser) run(end bool) []chat.Delta {
	p.out = nil
	for p.state(p, end) {
	}
	return chat.Join(p.out)
}

// marked is the mark of a special token, and the text itself of one without a mark.
func marked(token string) string {
	for _, c := range controls {
		if c.text == token {
			return c.mark
		}
	}
	return strings.ToValidUTF8(token, "\uFFFD")
}

// characters moves text ahead in whole characters and, if the spelling counts, whole
// special tokens.
func (p *parser) characters(text string, end bool) {
	rest := p.held + text
	var out strings.Builder
	for rest != "" {
		if p.spelling {
			token, part := tokenAt(rest)
			if token != "" {
				out.WriteString(marked(token))
				rest = rest[len(token):]
				continue
			}
			if part && !end {
				break
			}
		}
		if !end && !utf8.FullRuneInString(rest) {
			break
		}
		r, n := utf8.DecodeRuneInString(rest)
		out.WriteRune(r) // U+FFFD for a byte that is none of a character
		rest = rest[n:]
	}
	p.held = rest
	p.ahead += out.String()
}

// tokenAt is the special token that s begins with; part says that s is the beginning
// of one.
func tokenAt(s string) (token string, part bool) {
	for _, c := range controls {
		if strings.HasPrefix(s, c.text) {
			return c.text, false
		}
		part = part || strings.HasPrefix(c.text, s)
	}
	return "", part
}

// take consumes n bytes of the text ahead and returns them.
func (p *parser) take(n int) string {
	s := p.ahead[:n]
	p.ahead = p.ahead[n:]
	return s
}

// emit adds a delta, unless it is empty.
func (p *parser) emit(kind chat.DeltaKind, text string) {
	if text != "" || kind == chat.DeltaCall {
		p.out = append(p.out, chat.Delta{Kind: kind, Call: max(p.call, 0), Text: text})
	}
}

// text is the state of reasoning and content.
func (p *parser) text(end bool) bool {
	at := markAt(p.ahead)
	if at < 0 {
		keep := 0
		if !end && p.tools {
			keep = openerBegun(p.ahead)
		}
		before := p.take(len(p.ahead) - keep)
		p.begun = p.begun || before != ""
		p.emit(p.kind, before)
		return false
	}
	before, mark := p.take(at), p.take(1)
	first := !p.begun && before == ""
	p.begun = true
	switch {
	case mark == ending:
		p.emit(p.kind, before)
		p.state = (*parser).done
	case mark == dsml && p.tools && strings.HasSuffix(before, "<"):
		before = before[:len(before)-1]
		before = strings.TrimSuffix(strings.TrimSuffix(before, "\n"), "\n") // they belong to the block
		p.emit(p.kind, before)
		p.ahead = "<" + dsml + p.ahead
		p.state = (*parser).tag
	case mark == endThink:
		p.emit(p.kind, before)
		p.kind = chat.DeltaContent
	case mark == think && p.kind == chat.DeltaReasoning && first:
		// The prompt has opened the reasoning already.
	default:
		p.emit(p.kind, before+spelled.Replace(mark))
	}
	return true
}

// markAt is the place of the first mark, or -1.
func markAt(s string) int {
	for i := range len(s) {
		if s[i] >= dsml[0] {
			return i
		}
	}
	return -1
}

// openerBegun is the length of the end of s that may belong to a block of calls.
func openerBegun(s string) int {
	rest := strings.TrimSuffix(s, "<")
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, "\n"), "\n")
	return len(s) - len(rest)
}

// done drops what follows.
func (p *parser) done(bool) bool {
	p.ahead, p.held, p.over = "", "", true
	return false
}

// Done reports that the turn has ended.
func (p *parser) Done() bool { return p.over }

// fail keeps the first thing that is wrong.
func (p *parser) fail(found, expected string) {
	if p.err == nil {
		p.err = &chat.MarkupError{Found: found, Expected: expected}
	}
}

// shown quotes text ahead for people, special tokens as they are spelled.
func shown(s string) string { return strconv.Quote(spelled.Replace(s)) }

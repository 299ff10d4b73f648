package smelt

import (
	"slices"
	"strings"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models/tokenizer"
)

// stopper cuts a text before the first of some strings, and holds back what may be
// the beginning of one. The first is the one that ends first; of those that end
// together, the longest: so where a text is cut does not depend on its pieces.
type stopper struct {
	strings []string
	held    string
	found   string // the string that ended the text; "" while none did
}

// push adds a piece and returns the text that is certain now.
func (s *stopper) push(piece string) string {
	if s.found != "" {
		return ""
	}
	text := s.held + piece
	if start := s.find(text); start >= 0 {
		s.held = ""
		return text[:start]
	}
	certain := len(text) - s.begun(text)
	s.held = text[certain:]
	return text[:certain]
}

// flush returns what was held back of a text that has ended.
func (s *stopper) flush() string {
	held := s.held
	s.held = ""
	return held
}

// find sets found, and returns where it starts, or -1.
func (s *stopper) find(text string) (start int) {
	start, end := -1, len(text)+1
	for _, stop := range s.strings {
		at := strings.Index(text, stop)
		if at >= 0 && (at+len(stop) < end || at+len(stop) == end && at < start) {
			start, end, s.found = at, at+len(stop), stop
		}
	}
	return start
}

// begun is the length of the longest end of a text that is the beginning of a string.
func (s *stopper) begun(text string) (longest int) {
	for _, stop := range s.strings {
		for n := min(len(stop)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// decoder makes text of tokens, up to a string that ends it; without a tokenizer it
// makes none.
type decoder struct {
	stream *tokenizer.Stream
	stop   *stopper
}

func newDecoder(tok *tokenizer.Tokenizer, stops []string) decoder {
	if tok == nil {
		return decoder{}
	}
	return decoder{tok.NewStream(false), &stopper{strings: stops}}
}

func (d decoder) push(id int32) (string, error) {
	if d.stream == nil {
		return "", nil
	}
	text, err := d.stream.Push(id)
	return d.stop.push(text), err
}

// flush is what remains of a text that has ended, the beginning of a character too. A
// string that ended it has nothing behind it.
func (d decoder) flush() string {
	if d.stream == nil || d.found() != "" {
		return ""
	}
	return d.stop.flush() + d.stream.Flush()
}

// found is the string that ended the text, or "".
func (d decoder) found() string {
	if d.stop == nil {
		return ""
	}
	return d.stop.found
}

// cutTokens are those of a text that a string ended: up to the one that the string
// begins in, of which so many bytes remain. Before it come so many that are no control
// token; a control token itself goes as a whole.
func cutTokens(tok *tokenizer.Tokenizer, controls []string, tokens []int32, text string) (kept []int32, plain, bytes int) {
	stream, at := tok.NewStream(false), 0
	for i, id := range tokens {
		piece, err := stream.Push(id)
		spelling, _ := tok.Token(id)
		control := slices.Contains(controls, spelling)
		switch {
		case err == nil && at+len(piece) <= len(text):
			at += len(piece)
		case control:
			return tokens[:i], plain, 0
		default:
			return tokens[:i+1], plain, len(text) - at
		}
		if !control {
			plain++
		}
	}
	return tokens, plain, 0
}

// limited decodes the tokens of a text that was cut: of the last, after so many others,
// no more than so many bytes remain.
type limited struct {
	chat.TokenDecoder
	others, bytes int
	over          bool
}

// Push is the decoder's.
func (l *limited) Push(id int32) (string, error) {
	text, err := l.TokenDecoder.Push(id)
	if l.others--; l.others < 0 {
		text, l.over = text[:min(l.bytes, len(text))], true
	}
	return text, err
}

// Flush is the decoder's, but for what was cut off.
func (l *limited) Flush() string {
	if l.over {
		return ""
	}
	return l.TokenDecoder.Flush()
}

package smelt

import (
	"slices"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/stopping"
	"smelt.example/smelt/models/tokenizer"
)

// decoder makes text of tokens, up to a string that ends it; without a tokenizer it
// makes none.
type decoder struct {
	stream *tokenizer.Stream
	stop   *stopping.Stopper
}

func newDecoder(tok *tokenizer.Tokenizer, stops []string) decoder {
	if tok == nil {
		return decoder{}
	}
	return decoder{tok.NewStream(false), &stopping.Stopper{Strings: stops}}
}

func (d decoder) push(id int32) (string, error) {
	if d.stream == nil {
		return "", nil
	}
	text, err := d.stream.Push(id)
	return d.stop.Push(text), err
}

// flush is what remains of a text that has ended, the beginning of a character too. A
// string that ended it has nothing behind it.
func (d decoder) flush() string {
	if d.stream == nil || d.found() != "" {
		return ""
	}
	return d.stop.Flush() + d.stream.Flush()
}

// found is the string that ended the text, or "".
func (d decoder) found() string {
	if d.stop == nil {
		return ""
	}
	return d.stop.Found()
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

package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode turns ids into text, special tokens included. Bytes that are not valid
// UTF-8 become U+FFFD, one for each maximal part of a character, as in the
// Hugging Face library. An id that no token has is an error.
func (t *Tokenizer) Decode(ids []int32) (string, error) { return t.decode(ids, false) }

// DecodeSkipSpecial is Decode without the tokens for which IsSpecial holds.
func (t *Tokenizer) DecodeSkipSpecial(ids []int32) (string, error) { return t.decode(ids, true) }

func (t *Tokenizer) decode(ids []int32, skipSpecial bool) (string, error) {
	s := t.NewStream(skipSpecial)
	var out strings.Builder
	for _, id := range ids {
		text, err := s.Push(id)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	out.WriteString(s.Flush())
	return out.String(), nil
}

// Stream decodes ids one at a time. Push gives the text that no later id can
// change, so never a part of a character; the texts of all pushes and of Flush
// together equal what Decode gives for the same ids.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	pending     []byte // bytes not given out yet
}

// NewStream starts a Stream; skipSpecial leaves special tokens out, as
// DecodeSkipSpecial does.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Push adds one id and returns the text that is certain now, which may be empty.
// An id that no token has is an error and leaves the stream as it was.
func (s *Stream) Push(id int32) (string, error) {
	token, ok := s.t.Token(id)
	if !ok {
		return "", fmt.Errorf("tokenizer: %s: id %d is no token; ids run from 0 to %d", s.t.name, id, s.t.VocabSize()-1)
	}
	if s.skipSpecial && s.t.special[id] {
		return "", nil
	}
	switch s.t.decoding {
	case decodeByteLevel:
		s.pending = appendBytes(s.pending, token)
		return s.take(false), nil
	case decodeByteFallback:
		if b, ok := fallbackByte(token); ok {
			s.pending = append(s.pending, b)
			return "", nil
		}
		return s.Flush() + token, nil
	}
	return token, nil
}

// Flush ends the stream: it returns what Push held back and makes the stream
// ready for new ids.
func (s *Stream) Flush() string {
	if s.t.decoding != decodeByteFallback {
		return s.take(true)
	}
	run := s.pending
	s.pending = s.pending[:0]
	if utf8.Valid(run) {
		return string(run)
	}
	// A run of byte tokens is text as a whole or not at all.
	return strings.Repeat("\uFFFD", len(run))
}

// take gives out the pending bytes, but for a character that could still be
// completed; end says that nothing follows.
func (s *Stream) take(end bool) string {
	var out strings.Builder
	rest := s.pending
	for len(rest) > 0 && (end || utf8.FullRune(rest)) {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			size = brokenLength(rest)
		}
		out.WriteRune(r)
		rest = rest[size:]
	}
	s.pending = append(s.pending[:0], rest...)
	return out.String()
}

// brokenLength is the length of the maximal part of a character that b, which
// does not start with a valid one, starts with (Unicode Standard 3.9, U+FFFD
// substitution of maximal subparts); 1 if there is none.
func brokenLength(b []byte) int {
	n := 1
	for n < len(b) && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}

// appendBytes appends the bytes that a token spells in the byte-level alphabet;
// a token with any other character stands for its own UTF-8 bytes.
func appendBytes(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		if r >= alphabetSize || alphabetBytes[r] < 0 {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(alphabetBytes[r]))
	}
	return dst
}

// fallbackByte reads a token of the form <0xNN>.
func fallbackByte(token string) (byte, bool) {
	if len(token) != len("<0xNN>") || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(n), err == nil
}

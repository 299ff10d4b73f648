package tokenizer

import (
	"fmt"
	"strings"
	"time"
)

// Encode turns text into ids. Added tokens (special ones and others) are
// recognised wherever they stand in text, so text must not hold words of a user;
// use EncodeOrdinary for those. No token is added: it is the Hugging Face
// library's encode with add_special_tokens=False.
//
// An error says that text is not valid UTF-8, is longer than 64 MB, holds a
// character that the vocabulary cannot spell, or makes a pattern of the file
// backtrack for too long.
func (t *Tokenizer) Encode(text string) ([]int32, error) {
	return t.encode(text, true)
}

// EncodeOrdinary turns text into ids without recognising any added token: text
// that spells one is encoded like other text. Its errors are those of Encode.
func (t *Tokenizer) EncodeOrdinary(text string) ([]int32, error) {
	return t.encode(text, false)
}

func (t *Tokenizer) encode(text string, recognise bool) ([]int32, error) {
	if len(text) > maxTextBytes {
		return nil, fmt.Errorf("tokenizer: text has %d bytes, more than the %d accepted; encode it in parts", len(text), maxTextBytes)
	}
	if at := invalidUTF8(text); at >= 0 {
		return nil, fmt.Errorf("tokenizer: text is not valid UTF-8 at byte %d (0x%02x)", at, text[at])
	}
	e := t.encoders.Get().(*encoder)
	defer e.release()
	e.deadline = splitDeadline(len(text))
	ids := make([]int32, 0, len(text)/3+8)
	for _, s := range t.segments(text, recognise) {
		if s.isID {
			ids = append(ids, s.id)
			continue
		}
		var err error
		if ids, err = e.segment(s.text, ids); err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", t.name, err)
		}
	}
	return ids, nil
}

// segments cuts text at added tokens, those not normalized first.
func (t *Tokenizer) segments(text string, recognise bool) []segment {
	if text == "" {
		return nil
	}
	if !recognise {
		return []segment{{text: text}}
	}
	var out []segment
	for _, s := range t.added[0].split(text, nil) {
		if s.isID {
			out = append(out, s)
			continue
		}
		out = t.added[1].split(s.text, out)
	}
	return out
}

// Bounds on what an encoder keeps between calls.
const (
	maxCachedPieces  = 32 << 10
	maxCachedBytes   = 64 // longest piece kept
	maxScratchLength = 1 << 18
)

// encoder is the state of one Encode call that is worth keeping for the next:
// scratch space, and the ids of pieces met before. One goroutine uses it at a time.
type encoder struct {
	t        *Tokenizer
	cache    map[string][]int32
	scratch  encoderScratch
	deadline time.Time // of splitting the present text
}

type encoderScratch struct {
	source, prefixed source
	spans, pieces    []span
	parts            []part
	symbols          symbolList
	merger           merger
}

func newEncoder(t *Tokenizer) *encoder {
	return &encoder{t: t, cache: map[string][]int32{}}
}

// release hands e back for the next call, without the scratch space that one
// long text left behind and without the text itself.
func (e *encoder) release() {
	if cap(e.scratch.source.runes) > maxScratchLength {
		e.scratch = encoderScratch{}
	}
	e.scratch.source.text, e.scratch.prefixed.text = "", ""
	e.t.encoders.Put(e)
}

// segment appends the ids of text without added tokens.
func (e *encoder) segment(text string, ids []int32) ([]int32, error) {
	src, spans, err := e.split(text)
	if err != nil {
		return nil, err
	}
	for _, p := range spans {
		if ids, err = e.piece(src.slice(p), ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// split runs the pre-tokenizers.
func (e *encoder) split(text string) (*source, []span, error) {
	s := &e.scratch
	src := &s.source
	src.reset(text)
	s.spans = append(s.spans[:0], span{0, len(src.runes)})
	for i := range e.t.splits {
		if err := e.stage(&e.t.splits[i], src); err != nil {
			return nil, nil, err
		}
	}
	if e.t.prefixSpace {
		src = e.prefixSpaces()
	}
	if e.t.gpt2Split != nil {
		if err := e.stage(e.t.gpt2Split, src); err != nil {
			return nil, nil, err
		}
	}
	return src, s.spans, nil
}

func (e *encoder) stage(stage *splitStage, src *source) (err error) {
	s := &e.scratch
	s.pieces, s.parts, err = stage.apply(src, e.deadline, s.spans, s.pieces[:0], s.parts)
	s.spans, s.pieces = s.pieces, s.spans
	return err
}

// prefixSpaces puts a space before each piece that does not start with one.
func (e *encoder) prefixSpaces() *source {
	s := &e.scratch
	var text strings.Builder
	at := 0
	for i, p := range s.spans {
		piece := s.source.slice(p)
		length := p.hi - p.lo
		if !strings.HasPrefix(piece, " ") {
			text.WriteByte(' ')
			length++
		}
		text.WriteString(piece)
		s.spans[i] = span{at, at + length}
		at += length
	}
	s.prefixed.reset(text.String())
	return &s.prefixed
}

// piece appends the ids of one piece.
func (e *encoder) piece(text string, ids []int32) ([]int32, error) {
	if known, ok := e.cache[text]; ok {
		return append(ids, known...), nil
	}
	start := len(ids)
	ids, err := e.model(text, ids)
	if err != nil || len(text) > maxCachedBytes {
		return ids, err
	}
	if len(e.cache) == maxCachedPieces {
		clear(e.cache)
	}
	e.cache[strings.Clone(text)] = append([]int32(nil), ids[start:]...)
	return ids, nil
}

// model runs BPE on one piece.
func (e *encoder) model(text string, ids []int32) ([]int32, error) {
	b := e.t.bpe
	if b.ignoreMerges {
		if id, ok := b.ids[e.t.spell(text)]; ok && !e.t.special[id] {
			return append(ids, id), nil
		}
	}
	list := &e.scratch.symbols
	list.ids, list.unknown = list.ids[:0], false
	for i, r := range text {
		char := text[i : i+len(string(r))]
		if !e.char(char) {
			return nil, fmt.Errorf("character %q (%U) is not in the vocabulary and the model has no unk_token", r, r)
		}
	}
	list.flush(b)
	return e.scratch.merger.merge(b, list.ids, ids), nil
}

// char adds the symbols of one character.
func (e *encoder) char(char string) bool {
	b := e.t.bpe
	if !e.t.byteLevel {
		return e.scratch.symbols.add(b.symbol(char), b)
	}
	for i := range len(char) {
		if !e.scratch.symbols.add(b.bytes[char[i]], b) {
			return false
		}
	}
	return true
}

// spell writes a piece the way the vocabulary spells it.
func (t *Tokenizer) spell(piece string) string {
	if !t.byteLevel {
		return piece
	}
	var out strings.Builder
	for i := range len(piece) {
		out.WriteRune(alphabetChars[piece[i]])
	}
	return out.String()
}

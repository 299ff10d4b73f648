package tokenizer

import (
	"time"
	"unicode/utf8"
)

// source is a text as code points. Splitting works on code points because the
// pattern engine does; offsets leads back to the text's bytes.
type source struct {
	text    string
	runes   []rune
	offsets []int32 // byte offset of each code point, and len(text) at the end
}

// reset makes s the code points of text, which must be valid UTF-8.
func (s *source) reset(text string) {
	s.text, s.runes, s.offsets = text, s.runes[:0], s.offsets[:0]
	for i, r := range text {
		s.runes = append(s.runes, r)
		s.offsets = append(s.offsets, int32(i))
	}
	s.offsets = append(s.offsets, int32(len(text)))
}

func (s *source) slice(p span) string { return s.text[s.offsets[p.lo]:s.offsets[p.hi]] }

// span is the range [lo, hi) of a source's code points.
type span struct{ lo, hi int }

// part is a piece of text between or in the matches of a pattern.
type part struct {
	span
	match bool
}

// matcher finds the non-overlapping matches of a pattern, from left to right.
// found receives ranges relative to runes; they may be empty. A matcher that can
// backtrack gives up with errTimeout some time after deadline.
type matcher interface {
	find(runes []rune, deadline time.Time, found func(span)) error
}

// splitStage is one Split: where to cut, and what to do with the parts.
type splitStage struct {
	find   matcher
	merge  mergeFunc
	invert bool
}

// apply appends to out the pieces of all spans of s; parts is scratch space.
func (st *splitStage) apply(s *source, deadline time.Time, spans, out []span, parts []part) ([]span, []part, error) {
	for _, p := range spans {
		parts = parts[:0]
		end := p.lo
		err := st.find.find(s.runes[p.lo:p.hi], deadline, func(m span) {
			m = span{m.lo + p.lo, m.hi + p.lo}
			if end != m.lo {
				parts = append(parts, part{span{end, m.lo}, st.invert})
			}
			parts = append(parts, part{m, !st.invert})
			end = m.hi
		})
		if err != nil {
			return nil, parts, err
		}
		if end != p.hi {
			parts = append(parts, part{span{end, p.hi}, st.invert})
		}
		out = st.merge(parts, out)
	}
	return out, parts, nil
}

// mergeFunc joins or drops parts and appends the pieces that are not empty to out.
type mergeFunc func(parts []part, out []span) []span

// behaviors are the values of Split.behavior.
var behaviors = map[string]mergeFunc{
	"Removed":            mergeRemoved,
	"Isolated":           mergeIsolated,
	"MergedWithPrevious": mergePrevious,
	"MergedWithNext":     mergeNext,
	"Contiguous":         mergeContiguous,
}

func appendPiece(out []span, p span) []span {
	if p.lo == p.hi {
		return out
	}
	return append(out, p)
}

func mergeRemoved(parts []part, out []span) []span {
	for _, p := range parts {
		if !p.match {
			out = appendPiece(out, p.span)
		}
	}
	return out
}

func mergeIsolated(parts []part, out []span) []span {
	for _, p := range parts {
		out = appendPiece(out, p.span)
	}
	return out
}

// mergeWhile joins each part to the run before it when joins says so.
func mergeWhile(parts []part, out []span, joins func(before, p part) bool) []span {
	if len(parts) == 0 {
		return out
	}
	run := parts[0].span
	for i := 1; i < len(parts); i++ {
		if joins(parts[i-1], parts[i]) {
			run.hi = parts[i].hi
			continue
		}
		out = appendPiece(out, run)
		run = parts[i].span
	}
	return appendPiece(out, run)
}

func mergePrevious(parts []part, out []span) []span {
	return mergeWhile(parts, out, func(before, p part) bool { return p.match && !before.match })
}

func mergeNext(parts []part, out []span) []span {
	return mergeWhile(parts, out, func(before, p part) bool { return before.match && !p.match })
}

func mergeContiguous(parts []part, out []span) []span {
	return mergeWhile(parts, out, func(before, p part) bool { return p.match == before.match })
}

// literal matches its own code points.
type literal []rune

func (l literal) find(runes []rune, _ time.Time, found func(span)) error {
	for i := 0; i+len(l) <= len(runes); {
		if !hasPrefix(runes[i:], l) {
			i++
			continue
		}
		found(span{i, i + len(l)})
		i += len(l)
	}
	return nil
}

func hasPrefix(runes, prefix []rune) bool {
	for i, r := range prefix {
		if runes[i] != r {
			return false
		}
	}
	return true
}

// invalidUTF8 returns the byte offset of the first invalid UTF-8 in text, or -1.
func invalidUTF8(text string) int {
	if utf8.ValidString(text) {
		return -1
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

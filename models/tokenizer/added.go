package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken says how one added token is recognised in text.
type addedToken struct {
	id             int32
	singleWord     bool // only where no word character touches it
	lstrip, rstrip bool // takes the white space before or after it along
}

// addedMatcher finds added tokens in text: the leftmost first, and the longest of several
// there. It is a trie over bytes.
type addedMatcher struct {
	first  [256]bool        // bytes that start a token
	edges  map[uint32]int32 // node<<8 | byte -> node; the root is node 0
	tokens map[int32]addedToken
	nodes  int32
}

func newAddedMatcher() *addedMatcher {
	return &addedMatcher{edges: map[uint32]int32{}, tokens: map[int32]addedToken{}, nodes: 1}
}

func (m *addedMatcher) add(content string, token addedToken) {
	m.first[content[0]] = true
	node := int32(0)
	for i := range len(content) {
		edge := uint32(node)<<8 | uint32(content[i])
		next, ok := m.edges[edge]
		if !ok {
			next = m.nodes
			m.nodes++
			m.edges[edge] = next
		}
		node = next
	}
	m.tokens[node] = token
}

// next finds the first token in text at or after byte from. end is -1 when there
// is none.
func (m *addedMatcher) next(text string, from int) (token addedToken, start, end int) {
	for i := from; i < len(text); i++ {
		if !m.first[text[i]] {
			continue
		}
		if token, length := m.longest(text[i:]); length > 0 {
			return token, i, i + length
		}
	}
	return addedToken{}, 0, -1
}

func (m *addedMatcher) longest(text string) (token addedToken, length int) {
	node := int32(0)
	for i := range len(text) {
		var ok bool
		if node, ok = m.edges[uint32(node)<<8|uint32(text[i])]; !ok {
			break
		}
		if found, ok := m.tokens[node]; ok {
			token, length = found, i+1
		}
	}
	return token, length
}

// segment is a stretch of text without added tokens, or one added token.
type segment struct {
	text string
	id   int32
	isID bool
}

// split cuts text at the added tokens and appends the segments to out.
func (m *addedMatcher) split(text string, out []segment) []segment {
	done, from := 0, 0
	for {
		token, start, end := m.next(text, from)
		if end < 0 {
			break
		}
		from = end
		if token.singleWord && (endsInWord(text[:start]) || startsWithWord(text[end:])) {
			continue
		}
		if token.lstrip {
			start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
		}
		if token.rstrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		if done < start {
			out = append(out, segment{text: text[done:start]})
		}
		out = append(out, segment{id: token.id, isID: true})
		done = end
	}
	if done < len(text) {
		out = append(out, segment{text: text[done:]})
	}
	return out
}

func startsWithWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return text != "" && isWord(r)
}

func endsInWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return text != "" && isWord(r)
}

// isWord is \w as Unicode Technical Standard 18, annex C, defines it.
func isWord(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc) ||
		r == zeroWidthNonJoiner || r == zeroWidthJoiner
}

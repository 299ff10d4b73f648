package tokenizer

import "math"

// bpe is the model: it joins the symbols of one piece of text by the merges.
type bpe struct {
	ids          map[string]int32 // model.vocab
	ranks        map[uint64]uint32
	merged       []int32     // rank -> id of the joined token
	bytes        [256]symbol // byte-level models: the symbol of each byte
	fallback     [256]int32  // <0xNN> tokens, noID where there is none
	unk          int32       // unk_token, noID where the file has none
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
}

const (
	noID   = int32(-1)
	noRank = uint32(math.MaxUint32) // maxMerges keeps real ranks below it
)

// symbol is one character of a piece as BPE sees it: a token, the tokens of its bytes, or
// unknown.
type symbol struct {
	id    int32   // noID when the character is no token
	bytes []int32 // byte_fallback: the tokens of its UTF-8 bytes
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// symbol looks up one character.
func (b *bpe) symbol(char string) symbol {
	if id, ok := b.ids[char]; ok {
		return symbol{id: id}
	}
	if !b.byteFallback {
		return symbol{id: noID}
	}
	tokens := make([]int32, len(char))
	for i := range tokens {
		if tokens[i] = b.fallback[char[i]]; tokens[i] == noID {
			return symbol{id: noID}
		}
	}
	return symbol{id: noID, bytes: tokens}
}

// symbolList collects the symbols of a piece, unknown characters included.
type symbolList struct {
	ids     []int32
	unknown bool // an unknown character waits to be added
}

// add appends one symbol. It reports false for an unknown character in a model
// without unk_token. An unknown character is added when the next known one is
// met; byte tokens do not count as known there, as in the Hugging Face library.
func (l *symbolList) add(s symbol, b *bpe) bool {
	switch {
	case s.id != noID:
		l.flush(b)
		l.ids = append(l.ids, s.id)
	case s.bytes != nil:
		l.ids = append(l.ids, s.bytes...)
	case b.unk == noID:
		return false
	default:
		if !b.fuseUnk {
			l.flush(b)
		}
		l.unknown = true
	}
	return true
}

func (l *symbolList) flush(b *bpe) {
	if l.unknown {
		l.ids = append(l.ids, b.unk)
		l.unknown = false
	}
}

// merger is the scratch space of one merge run.
type merger struct {
	prev, next []int32
	rank       []uint32 // rank of the pair that starts at a symbol, noRank if none
	heap       []uint64 // rank<<32 | position, smallest first
}

// merge joins pairs of ids, the lowest rank first and the leftmost of equals,
// until no pair has a merge, and appends what is left to out. It takes
// O(n log n) for n symbols and overwrites ids.
func (m *merger) merge(b *bpe, ids, out []int32) []int32 {
	n := int32(len(ids))
	m.prev, m.next, m.rank, m.heap = m.prev[:0], m.next[:0], m.rank[:0], m.heap[:0]
	for i := range n {
		m.prev = append(m.prev, i-1)
		m.next = append(m.next, i+1)
		m.rank = append(m.rank, noRank)
	}
	for i := range n - 1 {
		m.update(b, ids, i)
	}
	for len(m.heap) > 0 {
		key := m.pop()
		rank, at := uint32(key>>32), int32(uint32(key))
		if m.rank[at] != rank {
			continue // the pair changed after it was queued
		}
		right := m.next[at]
		after := m.next[right]
		ids[at] = b.merged[rank]
		m.rank[right] = noRank
		m.next[at] = after
		if after < n {
			m.prev[after] = at
		}
		m.update(b, ids, at)
		if before := m.prev[at]; before >= 0 {
			m.update(b, ids, before)
		}
	}
	for i := int32(0); i < n; i = m.next[i] {
		out = append(out, ids[i])
	}
	return out
}

// update sets the rank of the pair that starts at symbol at and queues it.
func (m *merger) update(b *bpe, ids []int32, at int32) {
	m.rank[at] = noRank
	right := m.next[at]
	if int(right) == len(ids) {
		return
	}
	if rank, ok := b.ranks[pairKey(ids[at], ids[right])]; ok {
		m.rank[at] = rank
		m.push(uint64(rank)<<32 | uint64(at))
	}
}

func (m *merger) push(key uint64) {
	m.heap = append(m.heap, key)
	i := len(m.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if m.heap[parent] <= key {
			break
		}
		m.heap[i] = m.heap[parent]
		i = parent
	}
	m.heap[i] = key
}

func (m *merger) pop() uint64 {
	top := m.heap[0]
	last := len(m.heap) - 1
	key := m.heap[last]
	m.heap = m.heap[:last]
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && m.heap[child+1] < m.heap[child] {
			child++
		}
		if key <= m.heap[child] {
			break
		}
		m.heap[i] = m.heap[child]
		i = child
	}
	if last > 0 {
		m.heap[i] = key
	}
	return top
}

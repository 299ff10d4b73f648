// Package recall remembers with which tokens a model wrote its turns. A client sends back text,
// and often less: a tokenizer may spell it otherwise, arguments come with other spaces and in
// another order, and reasoning is left out. With what is remembered a prompt goes on where the
// model was, reasoning included.
//
// A turn is found again behind the very tokens that it was written behind, and by nothing
// else: who has other ones before it, has had another conversation.
package recall

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
)

// Prefix stands for all tokens before a turn, up to the one that opens it.
type Prefix [sha256.Size]byte

// Hash makes a Prefix of tokens.
type Hash struct{ sum hash.Hash }

// NewHash is of no tokens.
func NewHash() Hash { return Hash{sha256.New()} }

// Add adds tokens.
func (h Hash) Add(ids []int32) {
	bytes := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(id))
	}
	h.sum.Write(bytes)
}

// Prefix stands for what was added so far.
func (h Hash) Prefix() (p Prefix) {
	h.sum.Sum(p[:0])
	return p
}

// Turn is an assistant's turn.
type Turn struct {
	// Message is what clients were given of it, with the ids.
	Message chat.Message
	// Opened is the token before Tokens, which are the turn's up to the one that ends it.
	Opened int32
	Tokens []int32
}

// Memory keeps the turns that were asked for last. Its methods are safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	most    int64
	bytes   int64
	turns   map[Prefix][]*list.Element // newest last
	ordered list.List                  // of *kept, oldest first
}

type kept struct {
	Turn
	prefix Prefix
	bytes  int64
}

// overhead is about what a turn takes beside its texts and tokens.
const overhead = 512

// New makes a memory of about so many bytes.
func New(bytes int64) *Memory {
	return &Memory{most: bytes, turns: map[Prefix][]*list.Element{}}
}

// Put remembers a turn behind a prefix. The oldest go if there are too many.
func (m *Memory) Put(p Prefix, t Turn) {
	k := &kept{Turn: t, prefix: p, bytes: overhead + 4*int64(len(t.Tokens)) + int64(len(t.Message.Content)+len(t.Message.Reasoning))}
	for _, c := range t.Message.ToolCalls {
		k.bytes += int64(len(c.ID)+len(c.Name)+len(c.Arguments)) + overhead/8
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.bytes > m.most {
		return
	}
	m.bytes += k.bytes
	m.turns[p] = append(m.turns[p], m.ordered.PushBack(k))
	for m.bytes > m.most {
		m.drop(m.ordered.Front())
	}
}

func (m *Memory) drop(e *list.Element) {
	k := m.ordered.Remove(e).(*kept)
	m.bytes -= k.bytes
	left := slices.DeleteFunc(m.turns[k.prefix], func(x *list.Element) bool { return x == e })
	if m.turns[k.prefix] = left; len(left) == 0 {
		delete(m.turns, k.prefix)
	}
}

// Find is the turn behind a prefix that a client sends back as a message: of equal text, with
// calls whose arguments are equal as JSON, and with the same reasoning or none. Of several the
// one counts that an id names, else the newest.
func (m *Memory) Find(p Prefix, message chat.Message) (Turn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *list.Element
	named := false
	for _, e := range slices.Backward(m.turns[p]) {
		k := e.Value.(*kept)
		if (found == nil || !named && names(k.Message, message)) && same(k.Message, message) {
			found, named = e, names(k.Message, message)
		}
	}
	if found == nil {
		return Turn{}, false
	}
	m.ordered.MoveToBack(found)
	return found.Value.(*kept).Turn, true
}

// names tells whether a message has an id of another's.
func names(of, message chat.Message) bool {
	if message.ReasoningID != "" && message.ReasoningID == of.ReasoningID {
		return true
	}
	return slices.ContainsFunc(message.ToolCalls, func(c chat.ToolCall) bool {
		return c.ID != "" && slices.ContainsFunc(of.ToolCalls, func(o chat.ToolCall) bool { return o.ID == c.ID })
	})
}

// same tells whether a message says what another does, as far as clients send it back.
func same(of, message chat.Message) bool {
	return of.Content == message.Content && (message.Reasoning == "" || message.Reasoning == of.Reasoning) &&
		slices.EqualFunc(of.ToolCalls, message.ToolCalls, func(a, b chat.ToolCall) bool {
			return a.Name == b.Name && sameJSON(a.Arguments, b.Arguments)
		})
}

// sameJSON compares two texts as JSON: neither spaces nor the order of members count, nor how
// a number is spelled. Large integers are compared by their digits.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	canonical := func(text string) (jsontext.Value, bool) {
		v := jsontext.Value(text).Clone()
		return v, v.Canonicalize(jsontext.CanonicalizeRawInts(false)) == nil
	}
	x, ok := canonical(a)
	y, also := canonical(b)
	return ok && also && string(x) == string(y)
}

// Bytes is about how much is kept.
func (m *Memory) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

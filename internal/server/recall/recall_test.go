package recall

import (
	"fmt"
	"slices"
	"testing"

	"smelt.example/smelt/internal/models/chat"
)

func prefixOf(ids ...int32) Prefix {
	h := NewHash()
	for _, id := range ids {
		h.Add([]int32{id})
	}
	return h.Prefix()
}

// call is a message with a call.
func call(id, arguments string) chat.Message {
	return chat.Message{Role: chat.RoleAssistant, Content: "c", ToolCalls: []chat.ToolCall{{ID: id, Name: "f", Arguments: arguments}}}
}

// TestFind: what is the same turn, and of several which.
func TestFind(t *testing.T) {
	here, elsewhere := prefixOf(1, 2, 3), prefixOf(1, 2, 4)
	m := New(1 << 20)
	thought := call("a", `{"x": 1, "y": [9007199254740993]}`)
	thought.Reasoning, thought.ReasoningID = "r", "rs"
	m.Put(here, Turn{Message: thought, Tokens: []int32{1}})
	other := call("b", `{"x": 1, "y": [9007199254740993]}`)
	other.Reasoning = "another"
	m.Put(here, Turn{Message: other, Tokens: []int32{2}})
	m.Put(elsewhere, Turn{Message: call("a", `{"z": 0}`), Tokens: []int32{3}})
	with := func(change func(m *chat.Message)) chat.Message {
		x := call("", thought.ToolCalls[0].Arguments)
		change(&x)
		return x
	}
	for name, c := range map[string]struct {
		prefix  Prefix
		message chat.Message
		want    int32 // 0: none
	}{
		"the newest":              {here, with(func(*chat.Message) {}), 2},
		"by a call's id":          {here, with(func(m *chat.Message) { m.ToolCalls[0].ID = "a" }), 1},
		"by the reasoning's":      {here, with(func(m *chat.Message) { m.ReasoningID = "rs" }), 1},
		"by its reasoning":        {here, with(func(m *chat.Message) { m.Reasoning = "r" }), 1},
		"other reasoning":         {here, with(func(m *chat.Message) { m.Reasoning, m.ToolCalls[0].ID = "x", "a" }), 0},
		"respelled":               {here, with(func(m *chat.Message) { m.ToolCalls[0].Arguments = `{"y":[9007199254740993],"x":1.0}` }), 2},
		"another number":          {here, with(func(m *chat.Message) { m.ToolCalls[0].Arguments = `{"y":[9007199254740992],"x":1}` }), 0},
		"other text":              {here, with(func(m *chat.Message) { m.Content = "C" }), 0},
		"another tool":            {here, with(func(m *chat.Message) { m.ToolCalls[0].Name = "g" }), 0},
		"a call more":             {here, with(func(m *chat.Message) { m.ToolCalls = append(m.ToolCalls, m.ToolCalls[0]) }), 0},
		"no call":                 {here, with(func(m *chat.Message) { m.ToolCalls = nil }), 0},
		"no JSON":                 {here, with(func(m *chat.Message) { m.ToolCalls[0].Arguments = `{"x": 1` }), 0},
		"an id behind others":     {elsewhere, with(func(m *chat.Message) { m.ToolCalls[0].ID = "b" }), 0},
		"the same id behind them": {elsewhere, call("a", `{"z":0}`), 3},
		"nowhere":                 {prefixOf(1, 2), call("a", `{"z":0}`), 0},
	} {
		got, ok := m.Find(c.prefix, c.message)
		if ok != (c.want > 0) || ok && !slices.Equal(got.Tokens, []int32{c.want}) {
			t.Errorf("%s: %v, %v, expected %d", name, got.Tokens, ok, c.want)
		}
	}
}

// TestBounds: the memory keeps to its size, and what was asked for last stays.
func TestBounds(t *testing.T) {
	const most = 40 * overhead
	m := New(most)
	put := func(i int) {
		m.Put(prefixOf(int32(i%50)), Turn{Message: chat.Message{Content: fmt.Sprint(i)}, Tokens: make([]int32, i%20)})
	}
	has := func(i int) bool {
		_, ok := m.Find(prefixOf(int32(i%50)), chat.Message{Content: fmt.Sprint(i)})
		return ok
	}
	put(0)
	for i := 1; i < 500; i++ {
		put(i)
		if b := m.Bytes(); b > most || b < 0 {
			t.Fatalf("%d bytes are kept", b)
		}
		if !has(i) || !has(0) {
			t.Fatalf("after %d, the newest is there: %v, the one that is asked for: %v", i, has(i), has(0))
		}
	}
	if has(1) || has(400) || !has(480) {
		t.Error("others stay than the last")
	}
	m.Put(prefixOf(1), Turn{Message: chat.Message{Content: "long"}, Tokens: make([]int32, most)})
	if !has(499) {
		t.Error("what is too large drove out the rest")
	}
	for m.ordered.Len() > 0 {
		m.drop(m.ordered.Front())
	}
	if m.bytes != 0 || len(m.turns) != 0 {
		t.Errorf("%d bytes and %d prefixes are left of nothing", m.bytes, len(m.turns))
	}
}

func TestPrefix(t *testing.T) {
	h := NewHash()
	h.Add([]int32{1, 2})
	first := h.Prefix()
	h.Add([]int32{3})
	if first != prefixOf(1, 2) || h.Prefix() != prefixOf(1, 2, 3) || first == h.Prefix() {
		t.Error("a prefix depends on how its tokens were added, or not on which they are")
	}
}

package deepseekv4

import (
	"cmp"
	"slices"
	"strings"

	"smelt.example/smelt/internal/models/chat"
)

// turn is a message, or messages of users and tools that make one turn.
type turn struct {
	chat.Message
	number int     // of the first message, from 1
	parts  []block // of a user's turn
}

// block is a text of a user's turn, or a tool's result.
type block struct {
	text   string
	result bool
	id     string // of the call
}

// blocks is the text of a user's turn.
func (t turn) blocks() string {
	texts := make([]string, len(t.parts))
	for i, b := range t.parts {
		texts[i] = b.text
		if b.result {
			texts[i] = "<tool_result>" + b.text + "</tool_result>"
		}
	}
	return strings.Join(texts, "\n\n")
}

// turnsOf joins messages to turns and puts results in the order of their calls.
func turnsOf(messages []chat.Message) []turn {
	var turns []turn
	for i, m := range messages {
		t := turn{Message: m, number: i + 1}
		if m.Role != chat.RoleUser && m.Role != chat.RoleTool {
			turns = append(turns, t)
			continue
		}
		b := block{text: m.Content, result: m.Role == chat.RoleTool, id: m.ToolCallID}
		if n := len(turns); n > 0 && turns[n-1].Role == chat.RoleUser && (b.result || turns[n-1].Task == "") {
			turns[n-1].parts = append(turns[n-1].parts, b)
			continue
		}
		t.Role, t.parts = chat.RoleUser, []block{b}
		turns = append(turns, t)
	}
	var calls []chat.ToolCall
	for _, t := range turns {
		if t.Role == chat.RoleAssistant && len(t.ToolCalls) > 0 {
			calls = t.ToolCalls
		}
		sortResults(t.parts, calls)
	}
	return turns
}

// sortResults orders the results among blocks as their calls; texts stay in place. A
// result of no known call counts as the first call's.
func sortResults(blocks []block, calls []chat.ToolCall) {
	places := map[string]int{}
	for i, c := range calls {
		if c.ID != "" {
			places[c.ID] = i
		}
	}
	var results []block
	for _, b := range blocks {
		if b.result {
			results = append(results, b)
		}
	}
	slices.SortStableFunc(results, func(a, b block) int { return cmp.Compare(places[a.id], places[b.id]) })
	for i := range blocks {
		if blocks[i].result {
			blocks[i], results = results[0], results[1:]
		}
	}
}

// lastQuestion is the index of the last turn of a user or developer, -1 without one.
func lastQuestion(turns []turn) int {
	for i := len(turns) - 1; i >= 0; i-- {
		if turns[i].Role == chat.RoleUser || turns[i].Role == chat.RoleDeveloper {
			return i
		}
	}
	return -1
}

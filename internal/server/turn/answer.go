package turn

import (
	"strings"

	"smelt.example/smelt/internal/models/chat"
)

// Answer collects the deltas of a choice. Adding takes time by a delta's length, however
// long the answer is already.
type Answer struct {
	reasoning, content strings.Builder
	calls              []*callSoFar
}

type callSoFar struct {
	name      string
	arguments strings.Builder
}

// Add continues the answer.
func (a *Answer) Add(d chat.Delta) {
	switch d.Kind {
	case chat.DeltaReasoning:
		a.reasoning.WriteString(d.Text)
	case chat.DeltaContent:
		a.content.WriteString(d.Text)
	case chat.DeltaCall:
		a.calls = append(a.calls, &callSoFar{name: d.Text})
	case chat.DeltaArguments:
		a.calls[d.Call].arguments.WriteString(d.Text)
	}
}

// Message is the answer so far.
func (a *Answer) Message() chat.Message {
	m := chat.Message{Role: chat.RoleAssistant, Reasoning: a.reasoning.String(), Content: a.content.String()}
	for _, c := range a.calls {
		m.ToolCalls = append(m.ToolCalls, chat.ToolCall{Name: c.name, Arguments: c.arguments.String()})
	}
	return m
}

// Last is the latest call so far.
func (a *Answer) Last() chat.ToolCall {
	c := a.calls[len(a.calls)-1]
	return chat.ToolCall{Name: c.name, Arguments: c.arguments.String()}
}

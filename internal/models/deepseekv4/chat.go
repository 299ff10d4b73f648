package deepseekv4

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
)

// ChatFormat is DeepSeek-V4's chat format; it is a chat.Format. The zero value is the
// format that the model first came out with.
type ChatFormat struct{ Profile Profile }

// Name is that of the model.
func (f ChatFormat) Name() string {
	if f.Profile == Preview {
		return name
	}
	return name + "-" + f.Profile.String()
}

// Encode lays out a conversation for the assistant's next turn. Messages of users in a
// row, and results of tools, are one turn. In thinking mode the reasoning of turns
// before the last user's is dropped, unless tools are declared or o keeps it. Empty
// content yields no segment. The error names the first message that does not fit.
func (f ChatFormat) Encode(messages []chat.Message, o chat.Options) ([]chat.Segment, error) {
	if o.Mode != chat.Answer && o.Mode != chat.Thinking {
		return nil, fmt.Errorf("chat: found mode %v, expected chat or thinking", o.Mode)
	}
	effort, err := f.Profile.effort(o.Effort)
	if err != nil {
		return nil, err
	}
	if err := checkMessages(messages); err != nil {
		return nil, err
	}
	if err := checkTurn(messages, o); err != nil {
		return nil, err
	}
	p := layOut(messages, o)
	p.out.special(tokenBegin)
	if p.thinking {
		p.out.text(effort)
	}
	for i := range p.turns {
		if err := p.turn(i); err != nil {
			return nil, err
		}
	}
	if o.Again {
		p.again()
	}
	if o.Call {
		p.out.markup(callsHead)
	}
	return p.out, nil
}

func checkMessages(messages []chat.Message) error {
	if len(messages) == 0 {
		return fmt.Errorf("chat: found no messages, expected at least one")
	}
	roles := []string{chat.RoleSystem, chat.RoleDeveloper, chat.RoleUser, chat.RoleAssistant, chat.RoleTool, chat.RoleReminder}
	for i, m := range messages {
		if !slices.Contains(roles, m.Role) {
			return fmt.Errorf("chat: message %d has role %s, expected one of %v", i+1, quoted(m.Role), roles)
		}
		if m.Role == chat.RoleDeveloper && m.Content == "" {
			return fmt.Errorf("chat: message %d of role developer is empty; give it a content", i+1)
		}
		if _, ok := taskToken(m.Task); m.Task != "" && !ok {
			return fmt.Errorf("chat: message %d has task %s, which the format does not know", i+1, quoted(m.Task))
		}
	}
	return nil
}

// checkTurn refuses messages that the next turn cannot begin behind as o asks.
func checkTurn(messages []chat.Message, o chat.Options) error {
	last := messages[len(messages)-1]
	if o.Continue && (last.Role != chat.RoleAssistant || last.Task != "" || len(last.ToolCalls) > 0 || o.Call) {
		return fmt.Errorf("chat: message %d is to be continued: found role %s, %d tool calls and task %s, expected an assistant's message without", len(messages), last.Role, len(last.ToolCalls), quoted(last.Task))
	}
	question := last.Role == chat.RoleUser || last.Role == chat.RoleTool || last.Role == chat.RoleDeveloper || o.Again
	if o.Call && (o.Mode != chat.Answer || !question || last.Task != "") {
		return fmt.Errorf("chat: a call of tools is to follow message %d in mode %v: found role %s and task %s, expected mode chat and a question or result without task", len(messages), o.Mode, last.Role, quoted(last.Task))
	}
	return nil
}

// prompt is a conversation on its way to segments.
type prompt struct {
	out      segments
	turns    []turn
	last     int // the index of the last user's or developer's turn, -1 if there is none
	thinking bool
	keep     bool // the reasoning of all turns
	goesOn   bool // the last turn
}

// layOut makes turns of messages and drops what the mode drops.
func layOut(messages []chat.Message, o chat.Options) *prompt {
	declared := slices.ContainsFunc(messages, func(m chat.Message) bool { return len(m.Tools) > 0 })
	p := &prompt{turns: turnsOf(messages), thinking: o.Mode == chat.Thinking, keep: o.KeepReasoning || declared, goesOn: o.Continue}
	p.last = lastQuestion(p.turns)
	if p.thinking && !p.keep && p.last >= 0 {
		before := slices.DeleteFunc(slices.Clone(p.turns[:p.last]), func(t turn) bool { return t.Role == chat.RoleDeveloper })
		p.turns = append(before, p.turns[p.last:]...)
		p.last = len(before)
	}
	return p
}

// turn adds the i-th turn and, before an assistant's, what opens that.
func (p *prompt) turn(i int) error {
	t, out := p.turns[i], &p.out
	switch t.Role {
	case chat.RoleSystem:
		out.text(t.Content)
	case chat.RoleDeveloper:
		out.opens(tokenUser, chat.RoleUser)
		out.text(t.Content)
	case chat.RoleUser:
		out.opens(tokenUser, chat.RoleUser)
		out.text(t.blocks())
	case chat.RoleReminder:
		out.special(tokenReminder)
		out.text(t.Content)
	case chat.RoleAssistant:
		p.assistant(i)
	}
	if t.Role == chat.RoleSystem || t.Role == chat.RoleDeveloper {
		if err := out.declarations(t); err != nil {
			return err
		}
	}
	if n := i + 1; n == len(p.turns) || p.turns[n].Role == chat.RoleAssistant || p.turns[n].Role == chat.RoleReminder {
		p.open(i)
	}
	return nil
}

func (p *prompt) assistant(i int) {
	t, out := p.turns[i], &p.out
	goesOn := p.goesOn && i == len(p.turns)-1
	begin := len(*out)
	if p.thinking && (i == 0 || p.turns[i-1].Task == "") && (p.keep || i > p.last) {
		out.spelled(t.Reasoning, t.Spellings)
		if !goesOn || t.Content != "" {
			out.special(tokenEndThink)
		}
		if !goesOn {
			out.part(begin, t, chat.ReasoningPart)
		}
	}
	begin = len(*out)
	out.spelled(t.Content, t.Spellings)
	out.calls(t.ToolCalls)
	if !goesOn {
		out.part(begin, t, chat.AnswerPart)
	}
	if !t.Unfinished && !goesOn {
		out.special(tokenEnd)
	}
}

// open begins the assistant's turn, or the output of a task, behind the i-th turn.
func (p *prompt) open(i int) {
	t, out := p.turns[i], &p.out
	think := tokenEndThink
	token, task := taskToken(t.Task)
	switch {
	case task && token != tokenAction:
		out.special(token)
	case task:
		if p.thinking {
			think = tokenThink
		}
		out.opens(tokenAssistant, chat.RoleAssistant)
		out.special(think)
		out.special(token)
	case t.Role == chat.RoleUser || t.Role == chat.RoleDeveloper:
		if p.thinking && (p.keep || i >= p.last) {
			think = tokenThink
		}
		out.opens(tokenAssistant, chat.RoleAssistant)
		out.special(think)
	}
}

// again opens an assistant's turn where nothing has.
func (p *prompt) again() {
	last := p.turns[len(p.turns)-1]
	if last.Task != "" || p.goesOn || last.Role != chat.RoleAssistant && last.Role != chat.RoleSystem {
		return
	}
	think := tokenEndThink
	if p.thinking {
		think = tokenThink
	}
	p.out.opens(tokenAssistant, chat.RoleAssistant)
	p.out.special(think)
}

// declarations adds the tools and the format of answers that a message declares.
func (s *segments) declarations(t turn) error {
	if len(t.Tools) > 0 {
		s.text("\n\n")
		s.markup(toolsHead)
		for i, tool := range t.Tools {
			v, err := pyjson.Parse(tool)
			if err != nil {
				return fmt.Errorf("chat: tool %d of message %d: %w", i+1, t.number, err)
			}
			if i > 0 {
				s.text("\n")
			}
			s.text(v.String())
		}
		s.markup(toolsTail)
	}
	if t.ResponseFormat != "" {
		v, err := pyjson.Parse(t.ResponseFormat)
		if err != nil {
			return fmt.Errorf("chat: the response format of message %d: %w", t.number, err)
		}
		// The model's encoder asks in Python whether there is one. An empty schema is one,
		// though: the vendor's own server writes it.
		if _, schema := v.Members(); !schema && !v.True() {
			return nil
		}
		s.text("\n\n")
		s.markup(responseFormatHead)
		s.text(v.String())
	}
	return nil
}

// callsHead begins a block of calls.
const callsHead = "\n\n<" + tokenDSML + "tool_calls>\n"

// calls adds an assistant's calls. Nothing in them is escaped.
func (s *segments) calls(calls []chat.ToolCall) {
	if len(calls) == 0 {
		return
	}
	s.markup(callsHead)
	for _, c := range calls {
		s.markup("<" + tokenDSML + `invoke name="`)
		s.text(c.Name, "\">\n")
		for i, m := range arguments(c.Arguments) {
			if i > 0 {
				s.text("\n")
			}
			value, isText := m.Value.Text()
			if !isText {
				value = m.Value.String()
			}
			s.markup("<" + tokenDSML + `parameter name="`)
			s.text(m.Key, fmt.Sprintf(`" string="%t">`, isText), value)
			s.markup("</" + tokenDSML + "parameter>")
		}
		s.markup("\n</" + tokenDSML + "invoke>\n")
	}
	s.markup("</" + tokenDSML + "tool_calls>")
}

// arguments are the members of a call's arguments; what is no JSON object becomes one
// member.
func arguments(text string) []pyjson.Member {
	if v, err := pyjson.Parse(text); err == nil {
		if members, ok := v.Members(); ok {
			return members
		}
	}
	return []pyjson.Member{{Key: "arguments", Value: pyjson.Text(text)}}
}

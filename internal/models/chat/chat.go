// Package chat has the types that chat formats share: messages; segments of a prompt,
// which keep a format's own tokens apart from text; and deltas, the pieces in which an
// answer becomes a message. A model's package turns messages into segments and what
// the model generates into deltas.
package chat

import (
	"fmt"
	"slices"
	"strings"
)

// Roles of a Message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
	RoleTool      = "tool" // the result of a ToolCall

	// Roles of some formats only.
	RoleDeveloper = "developer" // a user's turn that may declare tools
	RoleReminder  = "latest_reminder"
)

// Message is one turn of a conversation. Only Role is always used; of the rest, a
// role has what its lines below name.
type Message struct {
	Role string
	// Content is the text; an assistant's answer without the reasoning before it.
	Content string

	// Reasoning and ToolCalls are an assistant's.
	Reasoning string
	ToolCalls []ToolCall
	// ReasoningID tells reasoning apart, as ToolCall.ID does calls.
	ReasoningID string
	// ToolCallID says which call a tool's message answers.
	ToolCallID string

	// Tools and ResponseFormat are a system's or developer's, as JSON whose keys keep
	// their order: of each tool an object with name, description and parameters, and
	// the schema of the answer.
	Tools          []string
	ResponseFormat string

	// Task asks for another output than an answer, by a name of the format's.
	Task string
	// Unfinished leaves an assistant's turn open at its end.
	Unfinished bool

	// Spellings are the tokens with which a model wrote texts of an assistant's message. In
	// a prompt they stand for these texts, so that the prompt goes on where the model was:
	// a tokenizer may spell the same text otherwise. One for another text does not count.
	Spellings []Spelling
}

// Spelling is a text with the tokens that a model wrote it with.
type Spelling struct {
	Text   string
	Tokens []int32
}

// Spelled is the spelling of a text among some, nil if there is none.
func Spelled(text string, all []Spelling) *Spelling {
	i := slices.IndexFunc(all, func(s Spelling) bool { return s.Text == text })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// ToolCall is a call that an assistant asks for.
type ToolCall struct {
	// ID tells calls apart; a model gives none.
	ID   string
	Name string
	// Arguments are a JSON object; of a call that was cut off, its beginning.
	Arguments string
}

// Part is a piece of a content that comes in several. Type is text for a text.
type Part struct{ Type, Text string }

// JoinParts makes one text of parts, with a blank line between them. A part that is no
// text leaves a note of its type.
func JoinParts(parts []Part) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.Text
		if p.Type != "text" {
			texts[i] = "[Unsupported " + p.Type + "]"
		}
	}
	return strings.Join(texts, "\n\n")
}

// CheckRequest refuses, with the first message's number, a conversation that a model
// cannot answer: a system message is the first, and the last message is not an
// assistant's.
func CheckRequest(messages []Message) error {
	for i, m := range messages {
		if m.Role == RoleSystem && i > 0 {
			return fmt.Errorf("chat: message %d has role system: a system message may only be the first; put them together", i+1)
		}
	}
	if n := len(messages); n == 0 || messages[n-1].Role == RoleSystem || messages[n-1].Role == RoleAssistant {
		return fmt.Errorf("chat: %d messages end without a user message or the result of a tool to answer; add one", n)
	}
	return nil
}

// Mode says how the assistant's next turn starts.
type Mode int

const (
	// Answer closes the reasoning at once: the model answers directly.
	Answer Mode = iota
	// Thinking opens it: the model reasons, then answers.
	Thinking
)

// String gives the mode's name: chat or thinking.
func (m Mode) String() string {
	switch m {
	case Answer:
		return "chat"
	case Thinking:
		return "thinking"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Options say how to lay out a conversation. The zero value asks for an answer
// without reasoning.
type Options struct {
	Mode Mode
	// Effort is a name of the format's for how long to reason; "" is its default.
	Effort string
	// KeepReasoning keeps the reasoning of earlier turns, which formats may drop.
	KeepReasoning bool
	// Continue goes on with the last message, an assistant's: with its content or, if
	// that is empty and the mode is Thinking, its reasoning.
	Continue bool
	// Call begins the turn with calls of tools, so that the model must make one. The
	// mode is Answer.
	Call bool
	// Again begins an assistant's turn also behind a message that asks for none: an
	// assistant's finished turn, or a system's.
	Again bool
}

// Stage is where the text begins that the model generates for these messages.
func (o Options) Stage(messages []Message) Stage {
	switch n := len(messages); {
	case o.Call:
		return InCalls
	case o.Mode == Answer, o.Continue && n > 0 && messages[n-1].Content != "":
		return InContent
	}
	return InReasoning
}

// A Format is how a model was taught to chat.
type Format interface {
	// Name is the format's name for people: "DeepSeek-V4".
	Name() string
	// Encode lays out a conversation for the assistant's next turn. The error
	// names the first message that does not fit the format.
	Encode(messages []Message, o Options) ([]Segment, error)
	// Parser reads one generated text.
	Parser(o ParseOptions) Parser
	// Controls are the special tokens that a Parser minds, by their texts.
	Controls() []string
	// Effort is the format's own name for an effort as interfaces of other makers name
	// it: minimal, low, medium, high, xhigh, ultra or max. context is how many tokens the
	// model's makers want there to be room for; 0 is any number.
	Effort(word string) (own string, context int, err error)
	// JSONAnswer is the paragraph of a system text that asks for an answer in JSON.
	JSONAnswer() string
}

// TokenEncoder is the part of a tokenizer that Tokens needs.
type TokenEncoder interface {
	// EncodeOrdinary encodes text in which no special token is recognised.
	EncodeOrdinary(text string) ([]int32, error)
	// TokenID returns the id of a token by its exact text.
	TokenID(token string) (int32, bool)
}

// MissingTokenError says that a tokenizer lacks a special token of the format:
// the model was not made for chat.
type MissingTokenError struct {
	Token, Format string
}

func (e *MissingTokenError) Error() string {
	return fmt.Sprintf("chat: the tokenizer has no token %s, which %s's chat format needs: this model was not made for chat", e.Token, e.Format)
}

// Text is the text of a conversation's segments in one string: for people and
// logs. Encoding it would give messages the power of special tokens; Tokens does
// not.
func Text(f Format, messages []Message, o Options) (string, error) {
	segments, err := f.Encode(messages, o)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, s := range segments {
		text.WriteString(s.Text)
	}
	return text.String(), nil
}

// Tokens encodes a conversation to token ids. It fails with a *MissingTokenError
// if the tokenizer lacks one of the format's special tokens.
func Tokens(f Format, messages []Message, o Options, tok TokenEncoder) ([]int32, error) {
	segments, err := f.Encode(messages, o)
	if err != nil {
		return nil, err
	}
	ids, _, err := SegmentTokens(f, segments, tok)
	return ids, err
}

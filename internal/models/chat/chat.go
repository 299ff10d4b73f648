// Package chat has the types that chat formats share: messages, and segments of a prompt,
// which keep a format's own tokens apart from text. A model's package turns messages into
// segments.
package chat

import (
	"fmt"
	"strings"
)

// Roles of a Message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
)

// Message is one turn of a conversation. Content of an assistant is its answer
// without the reasoning before it.
type Message struct {
	Role, Content string
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

// Segment is a piece of a prompt: one special token, or text in which nothing
// is special, whatever it looks like. Keeping the two apart until token ids is
// what stops a message from posing as another role.
type Segment struct {
	Text    string
	Special bool
}

// A Format is how a model was taught to chat.
type Format interface {
	// Name is the format's name for people: "DeepSeek-V4".
	Name() string
	// Encode lays out a conversation for the assistant's next turn. The error
	// names the first message that does not fit the format.
	Encode(messages []Message, mode Mode) ([]Segment, error)
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
func Text(f Format, messages []Message, mode Mode) (string, error) {
	segments, err := f.Encode(messages, mode)
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
func Tokens(f Format, messages []Message, mode Mode, tok TokenEncoder) ([]int32, error) {
	segments, err := f.Encode(messages, mode)
	if err != nil {
		return nil, err
	}
	var ids []int32
	for _, s := range segments {
		if s.Special {
			id, ok := tok.TokenID(s.Text)
			if !ok {
				return nil, &MissingTokenError{Token: s.Text, Format: f.Name()}
			}
			ids = append(ids, id)
			continue
		}
		part, err := tok.EncodeOrdinary(s.Text)
		if err != nil {
			return nil, fmt.Errorf("chat: encoding a message: %w", err)
		}
		ids = append(ids, part...)
	}
	return ids, nil
}

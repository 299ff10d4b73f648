package deepseekv4

import (
	"fmt"
	"strings"
)

// Special tokens of the chat format.
const (
	tokenBegin     = "<｜begin▁of▁sentence｜>"
	tokenEnd       = "<｜end▁of▁sentence｜>"
	tokenUser      = "<｜User｜>"
	tokenAssistant = "<｜Assistant｜>"
	tokenThink     = "<think>"
	tokenEndThink  = "</think>"
)

// Roles of a Message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
)

// Message is one turn of a conversation. Content of an assistant is its answer
// without the reasoning before it, which the format drops from earlier turns.
type Message struct {
	Role, Content string
}

// ChatMode says how the assistant's next turn starts.
type ChatMode int

const (
	// Chat closes the reasoning at once: the model answers directly.
	Chat ChatMode = iota
	// Thinking opens it: the model reasons, then answers.
	Thinking
)

// String gives the mode's name as the command line spells it.
func (m ChatMode) String() string {
	switch m {
	case Chat:
		return "chat"
	case Thinking:
		return "thinking"
	}
	return fmt.Sprintf("ChatMode(%d)", int(m))
}

// Segment is a piece of a prompt: one special token, or text in which nothing
// is special, whatever it looks like. Keeping the two apart until token ids is
// what stops a message from posing as another role.
type Segment struct {
	Text    string
	Special bool
}

// EncodeChat lays out a conversation for the assistant's next turn, in
// DeepSeek's format without tools. The system message, if any, comes first; then user and
// assistant alternate, starting and ending with the user. Empty content yields
// no segment. The error names the first message that breaks this.
func EncodeChat(messages []Message, mode ChatMode) ([]Segment, error) {
	if mode != Chat && mode != Thinking {
		return nil, fmt.Errorf("chat: found mode %v, expected chat or thinking", mode)
	}
	if err := checkTurns(messages); err != nil {
		return nil, err
	}
	segments := []Segment{{tokenBegin, true}}
	special := func(token string) { segments = append(segments, Segment{token, true}) }
	for i, m := range messages {
		if m.Role == RoleUser {
			special(tokenUser)
		}
		if m.Content != "" {
			segments = append(segments, Segment{m.Content, false})
		}
		switch {
		case m.Role == RoleAssistant:
			special(tokenEnd)
		case m.Role == RoleUser && mode == Thinking && i == len(messages)-1:
			special(tokenAssistant)
			special(tokenThink)
		case m.Role == RoleUser:
			special(tokenAssistant)
			special(tokenEndThink)
		}
	}
	return segments, nil
}

func checkTurns(messages []Message) error {
	turns, first := messages, 0
	if len(turns) > 0 && turns[0].Role == RoleSystem {
		turns, first = turns[1:], 1
	}
	for i, m := range turns {
		want := RoleUser
		if i%2 == 1 {
			want = RoleAssistant
		}
		if m.Role == want {
			continue
		}
		if m.Role == RoleSystem {
			return fmt.Errorf("chat: message %d has role system, expected %s: a system message may only be the first", first+i+1, want)
		}
		return fmt.Errorf("chat: message %d has role %s, expected %s: user and assistant take turns, and the user begins", first+i+1, quoted(m.Role), want)
	}
	if len(turns)%2 == 0 {
		return fmt.Errorf("chat: %d messages end without a user message to answer; add one", len(messages))
	}
	return nil
}

// ChatText is the text of EncodeChat's segments in one string: for people and
// logs. Encoding it would give messages the power of special tokens; use
// ChatTokens for that.
func ChatText(messages []Message, mode ChatMode) (string, error) {
	segments, err := EncodeChat(messages, mode)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, s := range segments {
		text.WriteString(s.Text)
	}
	return text.String(), nil
}

// TokenEncoder is what ChatTokens needs of a tokenizer.
type TokenEncoder interface {
	// EncodeOrdinary encodes text in which no special token is recognised.
	EncodeOrdinary(text string) ([]int32, error)
	// TokenID returns the id of a token by its exact text.
	TokenID(token string) (int32, bool)
}

// ChatTokens encodes a conversation to token ids. It fails if the tokenizer
// lacks one of the format's special tokens: the model was not made for chat.
func ChatTokens(messages []Message, mode ChatMode, tok TokenEncoder) ([]int32, error) {
	segments, err := EncodeChat(messages, mode)
	if err != nil {
		return nil, err
	}
	var ids []int32
	for _, s := range segments {
		if s.Special {
			id, ok := tok.TokenID(s.Text)
			if !ok {
				return nil, fmt.Errorf("chat: the tokenizer has no token %s, which DeepSeek-V4's chat format needs; run this model without --chat", s.Text)
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

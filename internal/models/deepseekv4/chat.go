package deepseekv4

import (
	"fmt"

	"smelt.example/smelt/internal/models/chat"
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

// ChatFormat is DeepSeek-V4's chat format without tools; it is a chat.Format.
type ChatFormat struct{}

// Name is that of the model.
func (ChatFormat) Name() string { return name }

// Encode lays out a conversation for the assistant's next turn. The system
// message, if any, comes first; then user and assistant alternate, starting and
// ending with the user. The reasoning of earlier turns is dropped. Empty content
// yields no segment. The error names the first message that breaks this.
func (ChatFormat) Encode(messages []chat.Message, mode chat.Mode) ([]chat.Segment, error) {
	if mode != chat.Answer && mode != chat.Thinking {
		return nil, fmt.Errorf("chat: found mode %v, expected chat or thinking", mode)
	}
	if err := checkTurns(messages); err != nil {
		return nil, err
	}
	segments := []chat.Segment{{Text: tokenBegin, Special: true}}
	special := func(token string) { segments = append(segments, chat.Segment{Text: token, Special: true}) }
	for i, m := range messages {
		if m.Role == chat.RoleUser {
			special(tokenUser)
		}
		if m.Content != "" {
			segments = append(segments, chat.Segment{Text: m.Content})
		}
		switch {
		case m.Role == chat.RoleAssistant:
			special(tokenEnd)
		case m.Role == chat.RoleUser && mode == chat.Thinking && i == len(messages)-1:
			special(tokenAssistant)
			special(tokenThink)
		case m.Role == chat.RoleUser:
			special(tokenAssistant)
			special(tokenEndThink)
		}
	}
	return segments, nil
}

func checkTurns(messages []chat.Message) error {
	turns, first := messages, 0
	if len(turns) > 0 && turns[0].Role == chat.RoleSystem {
		turns, first = turns[1:], 1
	}
	for i, m := range turns {
		want := chat.RoleUser
		if i%2 == 1 {
			want = chat.RoleAssistant
		}
		if m.Role == want {
			continue
		}
		if m.Role == chat.RoleSystem {
			return fmt.Errorf("chat: message %d has role system, expected %s: a system message may only be the first", first+i+1, want)
		}
		return fmt.Errorf("chat: message %d has role %s, expected %s: user and assistant take turns, and the user begins", first+i+1, quoted(m.Role), want)
	}
	if len(turns)%2 == 0 {
		return fmt.Errorf("chat: %d messages end without a user message to answer; add one", len(messages))
	}
	return nil
}

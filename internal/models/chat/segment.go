package chat

import (
	"fmt"
	"slices"
)

// Segment is a piece of a prompt: one special token, or text in which nothing
// is special, whatever it looks like. Keeping the two apart until token ids is
// what stops a message from posing as another role.
type Segment struct {
	Text    string
	Special bool
	// Spelling, if not nil, has the tokens of Text; else a tokenizer has.
	Spelling *Spelling

	// Opens is the role whose turn a special token opens: RoleUser or RoleAssistant; "" for
	// all others. Behind an assistant's comes one token more, which says how the turn begins.
	Opens string
	// Part is the part of an assistant's turn that the segment belongs to, and Message the
	// number of the turn's message, from 1. It is NoPart where the segment has more in it.
	Part    TurnPart
	Message int
}

// TurnPart is a part of an assistant's turn.
type TurnPart int

const (
	NoPart        TurnPart = iota
	ReasoningPart          // up to the special token that ends it
	AnswerPart             // content and calls, behind a special token
)

// Head is how many segments come before the first turn of a user, which no assistant's
// comes before: what conversations of one kind begin with. It is 0 if there is nothing but
// the token that begins every prompt.
func Head(segments []Segment) int {
	n := slices.IndexFunc(segments, func(s Segment) bool { return s.Opens != "" })
	if n < 2 || segments[n].Opens != RoleUser {
		return 0
	}
	return n
}

// SegmentTokens is Tokens for a conversation that has been laid out. With the tokens comes
// how many there are before each segment.
func SegmentTokens(f Format, segments []Segment, tok TokenEncoder) (ids []int32, before []int, err error) {
	for _, s := range segments {
		before = append(before, len(ids))
		part, err := s.Tokens(f, tok)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, part...)
	}
	return ids, before, nil
}

// Tokens are those of one segment of a format's prompt.
func (s Segment) Tokens(f Format, tok TokenEncoder) ([]int32, error) {
	switch {
	case s.Special:
		id, ok := tok.TokenID(s.Text)
		if !ok {
			return nil, &MissingTokenError{Token: s.Text, Format: f.Name()}
		}
		return []int32{id}, nil
	case s.Spelling != nil:
		return s.Spelling.Tokens, nil
	}
	ids, err := tok.EncodeOrdinary(s.Text)
	if err != nil {
		return nil, fmt.Errorf("chat: encoding a message: %w", err)
	}
	return ids, nil
}

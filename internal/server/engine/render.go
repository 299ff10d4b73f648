package engine

import (
	"slices"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/recall"
)

// Prompt is a prompt on its way to the model: its tokens and, for people, its text, in
// which Special are the byte ranges of special tokens.
type Prompt struct {
	IDs     []int32
	Text    string
	Special [][2]int

	// Head is how many tokens come before the first user's turn: other conversations begin
	// with them too. 0 if there are none, or nobody knows.
	Head int
	// Recalled are turns that have the tokens which the model wrote them with.
	Recalled int
	// Turn is where the assistant's next turn begins; nil if it goes on with one.
	Turn *Opening
}

// Opening is where an assistant's turn begins: behind so many tokens, of which those up to
// the one that opens the turn are the Prefix.
type Opening struct {
	Prefix recall.Prefix
	Length int
}

// Written is the turn that the model's tokens after the prompt make, to be remembered.
func (p *Prompt) Written(m chat.Message, tokens []int32) recall.Turn {
	return recall.Turn{Message: m, Opened: p.IDs[p.Turn.Length-1], Tokens: slices.Concat(p.IDs[p.Turn.Length:], tokens)}
}

// Render lays out a conversation for the next turn. Turns that the memory knows have the
// tokens which the model wrote them with; it may be nil.
func (m *Model) Render(messages []chat.Message, o chat.Options, memory *recall.Memory) (p Prompt, err error) {
	if m.Format == nil {
		return p, ErrNoChat
	}
	segments, err := m.Format.Encode(messages, o)
	if err != nil {
		return p, err
	}
	r := renderer{model: m, memory: memory, messages: messages, hash: recall.NewHash(), opened: -1}
	head := chat.Head(segments)
	for i := 0; i < len(segments); {
		if i == head {
			r.out.Head = len(r.out.IDs)
		}
		n, err := r.next(segments, i)
		if err != nil {
			return p, err
		}
		i += n
	}
	r.out.Text = string(r.text)
	if r.opened >= 0 && !o.Continue {
		r.out.Turn = &Opening{r.prefix, r.length}
	}
	return r.out, nil
}

// renderer makes a prompt of segments, one after the other.
type renderer struct {
	model    *Model
	memory   *recall.Memory
	messages []chat.Message
	out      Prompt
	text     []byte

	hash   recall.Hash
	opened int // the segment that opened the latest turn of an assistant, -1 before the first
	prefix recall.Prefix
	length int // tokens before that turn begins

	answer []int32 // what the rest of a turn that was recalled is written with
	of     int     // the number of its message
}

// next adds the i-th segment, or with it all that a part of a recalled turn consists of, and
// returns how many they were.
func (r *renderer) next(segments []chat.Segment, i int) (int, error) {
	s := segments[i]
	if s.Part != chat.NoPart {
		n := 1
		for i+n < len(segments) && segments[i+n].Part == s.Part && segments[i+n].Message == s.Message {
			n++
		}
		if ids, ok := r.recall(segments[i:i+n], i); ok {
			return n, r.written(ids)
		}
	}
	ids, err := s.Tokens(r.model.Format, r.model.Tokenizer)
	if err != nil {
		return 0, err
	}
	r.add(ids, s.Text, s.Special)
	if s.Opens == chat.RoleAssistant {
		r.opened, r.prefix = i, r.hash.Prefix()
	}
	if i == r.opened+1 && r.opened >= 0 {
		r.length = len(r.out.IDs)
	}
	return 1, nil
}

func (r *renderer) add(ids []int32, text string, special bool) {
	r.out.IDs = append(r.out.IDs, ids...)
	r.hash.Add(ids)
	start := len(r.text)
	r.text = append(r.text, text...)
	if special {
		r.out.Special = append(r.out.Special, [2]int{start, len(r.text)})
	}
}

// recall gives the tokens with which the model wrote a part of a turn. That begins behind
// the token that opens it, or was begun so with its reasoning.
func (r *renderer) recall(part []chat.Segment, i int) ([]int32, bool) {
	number := part[0].Message
	if part[0].Part == chat.AnswerPart && r.of == number {
		return r.answer, true
	}
	if r.memory == nil || r.opened < 0 || i != r.opened+2 {
		return nil, false
	}
	t, ok := r.memory.Find(r.prefix, r.messages[number-1])
	if !ok {
		return nil, false
	}
	// Reasoning ends with the token that stands before an answer without.
	before := r.out.IDs[len(r.out.IDs)-1]
	if part[0].Part == chat.ReasoningPart {
		before, ok = r.model.Tokenizer.TokenID(part[len(part)-1].Text)
	}
	end := slices.Index(t.Tokens, before)
	switch {
	case !ok || t.Opened != before && end < 0: // it ended in its reasoning
		return nil, false
	case t.Opened == before: // it had none
		end = -1
	}
	r.of, r.answer = number, t.Tokens[end+1:]
	r.out.Recalled++
	if part[0].Part == chat.AnswerPart {
		return r.answer, true
	}
	return t.Tokens[:end+1], end >= 0
}

// written adds tokens that the model wrote, with their text for people.
func (r *renderer) written(ids []int32) error {
	controls := r.model.Format.Controls()
	special := func(id int32) bool {
		text, _ := r.model.Tokenizer.Token(id)
		return slices.Contains(controls, text)
	}
	for len(ids) > 0 {
		n := 1
		if !special(ids[0]) {
			for n < len(ids) && !special(ids[n]) {
				n++
			}
		}
		text, err := r.model.Tokenizer.Decode(ids[:n])
		if err != nil {
			return err
		}
		r.add(ids[:n], text, special(ids[0]))
		ids = ids[n:]
	}
	return nil
}

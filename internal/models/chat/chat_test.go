package chat

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestJoinParts(t *testing.T) {
	parts := []Part{{"text", "one"}, {"image_url", "ignored"}, {"text", ""}, {"text", "two"}}
	if got, want := JoinParts(parts), "one\n\n[Unsupported image_url]\n\n\n\ntwo"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckRequest(t *testing.T) {
	system, user, assistant, tool := Message{Role: RoleSystem}, Message{Role: RoleUser}, Message{Role: RoleAssistant}, Message{Role: RoleTool}
	for _, c := range []struct {
		messages []Message
		want     string
	}{
		{[]Message{system, user}, ""},
		{[]Message{user, user}, ""},
		{[]Message{user, assistant, tool}, ""},
		{nil, "0 messages end without a user message"},
		{[]Message{system}, "1 messages end without a user message"},
		{[]Message{user, assistant}, "2 messages end without a user message"},
		{[]Message{user, system, user}, "message 2 has role system"},
	} {
		if err := CheckRequest(c.messages); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q in it", c.messages, err, c.want)
		}
	}
}

// echo is a format whose only special token, "!", begins a call; all else is content.
type echo struct{}

func (echo) Name() string                                 { return "echo" }
func (echo) Encode([]Message, Options) ([]Segment, error) { return nil, nil }
func (echo) Controls() []string                           { return []string{"!", "absent"} }
func (echo) Effort(word string) (string, int, error)      { return word, 0, nil }
func (echo) JSONAnswer() string                           { return "JSON" }
func (echo) Parser(o ParseOptions) Parser                 { return &echoParser{spelling: o.Spelling} }

type echoParser struct {
	spelling bool
	calls    int
}

func (p *echoParser) Push(s Segment) []Delta {
	if p.calls > 0 && !s.Special {
		return []Delta{{Kind: DeltaArguments, Call: p.calls - 1, Text: s.Text}}
	}
	if s.Special {
		p.calls++
		return []Delta{{Kind: DeltaCall, Call: p.calls - 1, Text: "f"}}
	}
	return []Delta{{Kind: DeltaContent, Text: s.Text}}
}

func (p *echoParser) End() []Delta {
	return []Delta{{Kind: DeltaArguments, Call: p.calls - 1, Text: "."}}
}

func (p *echoParser) Done() bool { return false }

func (p *echoParser) Err() error {
	if p.spelling {
		return errors.New("tokens are known")
	}
	return nil
}

// letters is a tokenizer of one token a letter, which gives a text one token late.
type letters struct{ held string }

var errLetter = errors.New("no letter")

func (*letters) EncodeOrdinary(string) ([]int32, error) { return nil, errLetter }
func (*letters) TokenID(token string) (int32, bool)     { return '!', token == "!" }

func (l *letters) Push(id int32) (string, error) {
	if id < 0 {
		return "", errLetter
	}
	text := l.held
	l.held = string(id)
	return text, nil
}

func (l *letters) Flush() string {
	text := l.held
	l.held = ""
	return text
}

// TestTokenParser: what the tokenizer holds back comes before a special token and at
// the end.
func TestTokenParser(t *testing.T) {
	tok := &letters{}
	p := NewTokenParser(echo{}, ParseOptions{Spelling: true}, tok, tok)
	got, err := ParseTokens(p, []int32{'a', 'b', '!', 'c', '!', 'd'})
	want := Message{Role: RoleAssistant, Content: "ab", ToolCalls: []ToolCall{{Name: "f", Arguments: "c"}, {Name: "f", Arguments: "d."}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	tok = &letters{}
	got, err = ParseTokens(NewTokenParser(echo{}, ParseOptions{}, tok, tok), []int32{'a', 'b', -1, 'c'})
	if !errors.Is(err, errLetter) || got.Content != "a" {
		t.Errorf("a token that is none: %+v, %v", got, err)
	}
}

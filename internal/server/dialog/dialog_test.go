package dialog

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/deepseekv4"
)

var hi = []chat.Message{{Role: chat.RoleUser, Content: "hi"}}

// TestThinking: of several fields the one in front counts.
func TestThinking(t *testing.T) {
	yes, no := true, false
	for _, x := range []struct {
		thinking Thinking
		on       bool
		effort   string
	}{
		{Thinking{}, false, ""}, {Thinking{Default: true}, true, ""}, {Thinking{Default: true, Usual: "max"}, true, "max"},
		{Thinking{Default: true, Model: "deepseek-chat"}, false, ""}, {Thinking{Model: "deepseek-reasoner"}, true, ""},
		{Thinking{Model: "deepseek-chat", Effort: "high"}, true, "high"}, {Thinking{Default: true, Effort: "none"}, false, ""},
		{Thinking{Effort: "max", Kwarg: &no}, false, ""}, {Thinking{Effort: "none", Kwarg: &yes}, true, ""},
		{Thinking{Type: "disabled", Kwarg: &yes, Effort: "max"}, false, ""}, {Thinking{Type: "enabled", Kwarg: &no, Effort: "none", Model: "deepseek-chat"}, true, ""},
		{Thinking{Type: "adaptive", Effort: "minimal", Usual: "max"}, true, "high"},
	} {
		turn, err := Build(Request{Messages: hi, Thinking: x.thinking}, deepseekv4.ChatFormat{})
		if err != nil {
			t.Fatal(err)
		}
		if on := turn.Options.Mode == chat.Thinking; on != x.on || turn.Options.Effort != x.effort {
			t.Errorf("%+v: %v, effort %q", x.thinking, on, turn.Options.Effort)
		}
	}
	turn, err := Build(Request{Messages: hi, Tools: []Tool{{Name: "f"}}, Choice: Choice{Kind: ChoiceRequired}, Thinking: Thinking{Default: true}}, deepseekv4.ChatFormat{})
	if err != nil || turn.Options.Mode != chat.Answer || len(turn.Notes) != 1 || turn.Parse.Stage != chat.InCalls {
		t.Errorf("a call that has to be made: %+v, %v", turn, err)
	}
}

// TestBilling: what differs with every request is no part of the prompt.
func TestBilling(t *testing.T) {
	for text, want := range map[string]string{
		"x-anthropic-billing-header: cc=1; h=abc":               "",
		"x-anthropic-billing-header: cc=1;\nBe kind.":           "Be kind.",
		"x-anthropic-billing-header: cc=1;You are kind.\nSo be": "You are kind.\nSo be",
		"Tell of x-anthropic-billing-header":                    "Tell of x-anthropic-billing-header",
	} {
		turn, err := Build(Request{Messages: append([]chat.Message{{Role: chat.RoleSystem, Content: text}}, hi...)}, deepseekv4.ChatFormat{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if turn.Messages[0].Role == chat.RoleSystem {
			got = turn.Messages[0].Content
		}
		if got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestOpener: an assistant's turn begins behind whatever came last.
func TestOpener(t *testing.T) {
	system := chat.Message{Role: chat.RoleSystem, Content: "s"}
	answer := chat.Message{Role: chat.RoleAssistant, Content: "a", Reasoning: "r"}
	for _, x := range []struct {
		messages []chat.Message
		want     string
	}{
		{[]chat.Message{system}, "s<｜Assistant｜><think>"},
		{append(append([]chat.Message{}, hi...), answer), "<｜User｜>hi<｜Assistant｜><think>r</think>a<｜end▁of▁sentence｜><｜Assistant｜><think>"},
		{append(append([]chat.Message{}, hi...), system), "s<｜User｜>hi<｜Assistant｜><think>"},
	} {
		turn, err := Build(Request{Messages: x.messages, Thinking: Thinking{Default: true}}, deepseekv4.ChatFormat{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := chat.Text(deepseekv4.ChatFormat{}, turn.Messages, turn.Options)
		if err != nil || !strings.HasSuffix(text, x.want) {
			t.Errorf("%q, %v; want %q", text, err, x.want)
		}
	}
}

// TestShortWarnings: what an answer is said to lack is short, whatever its schema lists.
func TestShortWarnings(t *testing.T) {
	schema := `{"enum":["` + strings.Repeat("long", 5000) + `"]}`
	turn, err := Build(Request{Messages: []chat.Message{{Role: chat.RoleUser, Content: "x"}}, Format: Format{JSON: true, Schema: jsontext.Value(schema)}}, deepseekv4.ChatFormat{})
	if err != nil {
		t.Fatal(err)
	}
	if wrong := turn.Check(chat.Message{Content: `"short"`}); len(wrong) != 1 || !strings.Contains(wrong[0], "longlong") || len(wrong[0]) > 400 {
		t.Errorf("%.500q", wrong)
	}
}

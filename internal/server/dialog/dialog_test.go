package dialog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/internal/sample"
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

// doubling is a schema of n levels, each of which has the one below it twice, as word says.
func doubling(n int, word, draft, leaf string) string {
	defs := ""
	for i := range n {
		defs += fmt.Sprintf(`"l%d":{%q:[{"$ref":"#/definitions/l%d"},{"$ref":"#/definitions/l%d"}]},`, i, word, i+1, i+1)
	}
	return fmt.Sprintf(`{"$schema":%q,"definitions":{%s"l%d":%s},"not":{"$ref":"#/definitions/l0"}}`, draft, defs, n, leaf)
}

// TestBudget: schemas that take exponentially long are not checked to the end, and the
// answer says so; those that only look like it are.
func TestBudget(t *testing.T) {
	drafts := []string{"http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"}
	for _, draft := range sample.Of(t, drafts, 1) {
		for word, leaf := range map[string]string{"allOf": `{"type":"string"}`, "anyOf": `{"type":"null"}`, "oneOf": `{"enum":[1]}`} {
			if got := checked(t, doubling(200, word, draft, leaf), `"x"`); len(got) != 1 || got[0] != "content: "+errSteps.Error() {
				t.Errorf("%s of %s: %.300q", word, draft, got)
			}
		}
		if got := checked(t, doubling(8, "anyOf", draft, `{"type":"null"}`), `"x"`); len(got) > 0 {
			t.Errorf("%s, few levels: %.300q", draft, got)
		}
	}
	long := "[" + strings.Repeat(`1,`, 2000) + "1]"
	words := `{"items":{"enum":[` + strings.Repeat(`"a",`, 2000) + `"b"]}}`
	if got := checked(t, words, long); len(got) != 1 || got[0] != "content: "+errSteps.Error() {
		t.Errorf("long lists: %.300q", got)
	}
	if got := checked(t, `{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"l":{"$ref":"#/$defs/tree"},"v":{"type":"number"}}}}}`, `{"l":{"l":{"v":"x"}}}`); len(got) != 1 || !strings.Contains(got[0], "at '/l/l/v': got string, want number") {
		t.Errorf("a tree: %q", got)
	}
	if got := checked(t, `{"$dynamicAnchor":"n","properties":{"l":{"$dynamicRef":"#n"}}}`, `{}`); len(got) != 1 || got[0] != "content: "+errDynamic.Error() {
		t.Errorf("dynamic references: %q", got)
	}
	if got := checked(t, `{"format":"email","$schema":"http://json-schema.org/draft-07/schema#"}`, `"x"`); len(got) != 1 || !strings.Contains(got[0], "is not valid email") {
		t.Errorf("a format: %q", got)
	}
}

// checked is what an answer is said to lack.
func checked(t *testing.T, schema, answer string) []string {
	t.Helper()
	turn, err := Build(Request{Messages: hi, Format: Format{JSON: true, Schema: jsontext.Value(schema)}}, deepseekv4.ChatFormat{})
	if err != nil {
		t.Fatal(err)
	}
	return turn.Check(chat.Message{Content: answer})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
	"smelt.example/smelt/runtime/sampling"
)

// chatText has a conversation with the storyteller on the reference device, which ends with a
// status, and with words on standard error.
func chatText(t *testing.T, status int, stdin string, args []string, words ...string) result {
	t.Helper()
	r := smelt(t, stdin, append([]string{"chat", storyteller, "--device", "reference", "--temp", "0", "--context", "64"}, args...)...)
	if r.status != status {
		t.Errorf("%q: status %d, expected %d", stdin, r.status, status)
	}
	for _, want := range words {
		if !strings.Contains(r.errors, want) {
			t.Errorf("%q: standard error lacks %q:\n%s", stdin, want, r.errors)
		}
	}
	return r
}

// TestChat: a turn sees those before, reads only what is new, and the answers are all that
// standard output has.
func TestChat(t *testing.T) {
	// The first answer is 8 tokens and the one that ends it.
	r := chatText(t, 0, "Tell me about a cat.\n\nAnd then?\r\n/stats\n/undo\nAnd then?\n/stats", []string{"-n", "9"},
		"device reference, temperature 0\n",
		"last answer: prompt 26 tokens, 19 of them reused\n  read 7 tokens in ",
		"2 answers: prompt 37 tokens, 19 of them reused\n  read 18 tokens in ",
		"context: 36 of 64 tokens in use, 28 left\n",
		"taken back: \"And then?\"\n",
		"last answer: prompt 26 tokens, 0 of them reused\n  read 26 tokens in ",
		"the answer ends here after 9 tokens (--max-tokens)\n")
	first, _ := runText(t, "", storyteller, "--chat", "-p", "Tell me about a cat.", "--temp", "0", "-n", "9")
	second, repeated := strings.CutPrefix(r.out, first)
	if half := second[:len(second)/2]; !repeated || half == "" || half+half != second {
		t.Errorf("answers %q; the first alone is %q, and the next two should be alike", r.out, first)
	}
}

// TestChatReasoning: lines mark it where text has no style, or it is hidden.
func TestChatReasoning(t *testing.T) {
	const input = "Why?\n/think off\nWhy?\n"
	shown := chatText(t, 0, input, []string{"--think", "--effort", "high", "-n", "5"}).out
	if !regexp.MustCompile(`(?s)^\[reasoning\]\n.+\n$`).MatchString(shown) || strings.Count(shown, "[") != 1 {
		t.Fatalf("got %q", shown)
	}
	hidden := chatText(t, 0, input, []string{"--think", "--effort", "high", "-n", "5", "--hide-thinking"}).out
	if answer, ok := strings.CutPrefix(hidden, "\n"); !ok || answer == "" || !strings.HasSuffix(shown, answer) {
		t.Errorf("hidden %q, shown %q", hidden, shown)
	}
}

// TestChatFull: a full context is one message that says what to do, and doing it helps.
func TestChatFull(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs a model several times")
	}
	r := chatText(t, 1, "Tell me about a cat.\nAnd then, what did it do all day long?\nGo on.\n/undo\n/stats\nWhy?\n", []string{"--context", "40"},
		"the context of 40 tokens is full, and the answer ends here; /undo takes back the last message and its answer",
		"smelt: with this message the conversation has ", ", and the context room for 40; the message is left out: /undo takes back", "a larger --context",
		"taken back: \"And then, what did it do all day long?\"\n",
		"context: 20 of 40 tokens in use, 20 left\n")
	if n := strings.Count(r.errors, "smelt:"); n != 1 {
		t.Errorf("%d complaints:\n%s", n, r.errors)
	}
}

// TestChatCommands: what each says, right and wrong.
func TestChatCommands(t *testing.T) {
	tools := writeFile(t, filepath.Join(t.TempDir(), "tools.json"), `[{"name": "weather", "parameters": {}}]`)
	for _, c := range []struct {
		input  string
		status int
		want   []string
	}{
		{"/help", 0, []string{"/undo", "/effort WORD", "/quit"}},
		{"/quit\nno answer to this", 0, nil},
		{"/system Be brief.\n/system", 0, []string{"system text: \"Be brief.\"\n", "no system text\n"}},
		{"/think on\n/think off", 0, []string{"thinking is on\n", "thinking is off\n"}},
		{"/effort max\n/effort", 0, []string{"effort: max, once /think is on\n", "effort: the chat format's own"}},
		{"/tools " + tools + "\n/tools", 0, []string{"1 tool\n", "0 tools\n"}},
		{"/stats", 0, []string{"context: 0 of 64 tokens in use, 64 left\n"}},
		{"/effort loud", 1, []string{`/effort: chat: found effort "loud", expected`}},
		{"/think", 1, []string{`/think: found "", expected on or off`}},
		{"/undo", 1, []string{"/undo: nothing was said yet"}},
		{"/undo it", 1, []string{`/undo: found "it", expected nothing after it`}},
		{"/undu", 1, []string{`unknown command "/undu"; did you mean /undo?; /help lists all`}},
		{"/tools nowhere.json", 1, []string{"/tools: ", "nowhere.json"}},
		{"/tools .", 1, []string{"/tools: . is a folder"}},
		{"/system \xff", 1, []string{"/system: ", "not valid UTF-8"}},
		{"\xff", 1, []string{"not valid UTF-8"}},
		{"/nothing\n/quit", 1, []string{`unknown command "/nothing"`}},
	} {
		if r := chatText(t, c.status, c.input, nil, c.want...); r.out != "" {
			t.Errorf("%q: standard output has %q", c.input, r.out)
		}
	}
	if r := chatText(t, 0, "//system is a word", []string{"-n", "1"}); r.out == "" {
		t.Error("a text that begins with / has no answer")
	}
}

func TestChatRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{storyteller, "--effort", "loud"}, []string{`found effort "loud"`}},
		{[]string{storyteller, "--temp", "-1"}, []string{"--temp"}},
		{[]string{storyteller, "--device", "abacus"}, []string{"--device abacus"}},
		{[]string{plainFixture}, []string{"tokenizer"}},
		{nil, []string{"expected one CHECKPOINT or BUNDLE"}},
		{[]string{storyteller, "--json"}, []string{"unknown flag: --json"}},
	} {
		smelt(t, "Hi\n", append([]string{"chat"}, c.args...)...).fails(t, c.want...)
	}
}

// TestConversation: results of calls are asked for one by one, and what is taken back is what
// a user said with all that came of it.
func TestConversation(t *testing.T) {
	c := conversation{system: "Be brief.", tools: []string{"{}"}, think: true, effort: "high"}
	if _, ok := c.undo(); ok || c.awaited() != "" {
		t.Error("something was taken back of nothing")
	}
	c.say("Hi")
	c.answered(lib.Message{Role: lib.RoleAssistant, Content: "Hi."})
	if due, _ := c.say("Weather and time?"); !due {
		t.Error("a question is due no answer")
	}
	c.answered(lib.Message{Role: lib.RoleAssistant, ToolCalls: []chat.ToolCall{{Name: "weather", Arguments: "{}"}, {Name: "time"}}})
	before := len(c.said)
	for i, tool := range []string{"weather", "time"} {
		if c.awaited() != tool {
			t.Errorf("it waits for %q, expected %s", c.awaited(), tool)
		}
		due, takeBack := c.say("/ sunny")
		if due != (i == 1) {
			t.Errorf("result %d: an answer is due: %v", i, due)
		}
		takeBack()
		if c.awaited() != tool || len(c.said) != before+i {
			t.Error("a result that was taken back is there")
		}
		c.say("sunny")
	}
	r := c.ask(lib.Request{MaxTokens: 3})
	want := []lib.Message{
		{Role: lib.RoleSystem, Content: "Be brief.", Tools: []string{"{}"}},
		{Role: lib.RoleUser, Content: "Hi"},
		{Role: lib.RoleAssistant, Content: "Hi."},
		{Role: lib.RoleUser, Content: "Weather and time?"},
		{Role: lib.RoleAssistant, ToolCalls: []chat.ToolCall{{ID: "call_1", Name: "weather", Arguments: "{}"}, {ID: "call_2", Name: "time"}}},
		{Role: lib.RoleTool, ToolCallID: "call_1", Content: "sunny"},
		{Role: lib.RoleTool, ToolCallID: "call_2", Content: "sunny"},
	}
	if !reflect.DeepEqual(r.Messages, want) || !r.Think || r.Effort != "high" || r.MaxTokens != 3 || r.Stream != 2 {
		t.Errorf("%+v", r)
	}
	if text, ok := c.undo(); !ok || text != "Weather and time?" || !reflect.DeepEqual(c.messages(), want[:3]) {
		t.Errorf("%q, %+v", text, c.messages())
	}
}

// TestChatInterrupt: what a Ctrl-C ends that is no key of a line.
func TestChatInterrupt(t *testing.T) {
	for _, c := range []struct {
		typed, answers bool
		hits           int
		stops, quits   int
	}{
		{false, true, 1, 1, 0},
		{false, false, 1, 0, 1},
		{true, true, 2, 2, 0},
		{true, false, 1, 0, 0}, // the signal came late, when the answer had just ended
		{true, false, 2, 0, 1},
	} {
		stops, quits := 0, 0
		x := &talk{typed: c.typed, quit: func() { quits++ }}
		if c.answers {
			x.answering(func() { stops++ })
		}
		for range c.hits {
			x.interrupt()
		}
		if stops != c.stops || quits != c.quits {
			t.Errorf("%+v: it ended %d answers and the program %d times", c, stops, quits)
		}
	}
}

// TestTalkResults: after calls, lines are their results, and the answer comes after the last; one
// that is interrupted before it begins takes the result back.
func TestTalkResults(t *testing.T) {
	files, err := lib.OpenFiles(storyteller)
	must(t, err)
	var out, errs bytes.Buffer
	o := chatOptions{modelFlags: modelFlags{open: lib.Options{Device: "reference", Context: 200}}}
	x := newTalk(stdio{in: strings.NewReader(""), out: &out, err: &errs}, files, lib.Request{MaxTokens: 3, Sampling: &sampling.Params{}}, o)
	x.model, err = files.Start(t.Context(), o.open)
	must(t, err)
	defer x.model.Close()
	x.say("Weather and time?")
	x.answered(lib.Message{Role: lib.RoleAssistant, ToolCalls: []chat.ToolCall{{Name: "weather", Arguments: "{}"}, {Name: "time", Arguments: "{}"}}})
	ended, end := context.WithCancel(t.Context())
	end()
	for _, step := range []struct {
		ctx            context.Context
		prompt, line   string
		answers, notes bool
	}{
		{t.Context(), "result of weather> ", "sunny", false, false},
		{ended, "result of time> ", "noon", false, true},
		{t.Context(), "result of time> ", "", true, true}, // an empty result is one
		{t.Context(), "> ", "", false, false},             // but no message
	} {
		out.Reset()
		errs.Reset()
		if got := x.prompt(); got != step.prompt {
			t.Errorf("prompt %q, expected %q", got, step.prompt)
		}
		over, err := x.take(step.ctx, step.line)
		if over || err != nil || (out.Len() > 0) != step.answers || (errs.Len() > 0) != step.notes {
			t.Errorf("%q: %v, %v, printed %q and %q", step.line, over, err, out.String(), errs.String())
		}
	}
	if n := len(x.said); n != 5 || x.said[3].Content != "" || x.said[4].Role != lib.RoleAssistant {
		t.Errorf("said %+v", x.said)
	}
	errs.Reset()
	x.remark(lib.Result{Reason: lib.StopString, StopString: "a\n", Markup: &chat.MarkupError{Found: "x", Expected: "y"}})
	if got := errs.String(); !strings.Contains(got, `before the --stop string "a\n"`) || !strings.Contains(got, "note: chat: the model's tool calls: found x, expected y; what could be read") {
		t.Error(got)
	}
}

// TestWholeCalls: of calls that an answer ended in, nobody is asked for the result.
func TestWholeCalls(t *testing.T) {
	calls := []chat.ToolCall{{Name: "f", Arguments: "{}"}, {Name: "g", Arguments: `{"a": "b`}}
	for _, c := range []struct {
		reason lib.StopReason
		calls  []chat.ToolCall
		left   int
	}{
		{lib.StopLength, calls, 1}, {lib.StopCancelled, calls, 1}, {lib.StopToken, calls, 2}, {lib.StopContext, calls[:1], 1}, {lib.StopLength, nil, 0},
	} {
		said, cut := wholeCalls(lib.Result{Reason: c.reason, Message: lib.Message{ToolCalls: c.calls}})
		if len(said.ToolCalls) != c.left || cut != (c.left < len(c.calls)) {
			t.Errorf("%s: %+v, %v", c.reason, said, cut)
		}
	}
}

// TestAnswerPrinter: pieces of an answer with and without style.
func TestAnswerPrinter(t *testing.T) {
	thought, said := lib.Message{Reasoning: "Hm."}, lib.Message{Content: "\n\nYes."}
	call := lib.Message{ToolCalls: []chat.ToolCall{{Name: "f"}}}
	arguments := lib.Message{ToolCalls: []chat.ToolCall{{Arguments: `{"a": 1}`}}}
	for _, c := range []struct {
		name          string
		pieces        []lib.Message
		plain, styled string
	}{
		{"nothing", nil, "\n", "\n"},
		{"an answer", []lib.Message{said}, "\n\nYes.\n", "\n\nYes.\n"},
		{"a whole line", []lib.Message{{Content: "Yes.\n"}}, "Yes.\n", "Yes.\n"},
		{"thought alone", []lib.Message{thought, thought}, "[reasoning]\nHm.Hm.\n", "\x1b[2mHm.\x1b[0m\x1b[2mHm.\x1b[0m\n"},
		{"thought and said", []lib.Message{thought, said, said}, "[reasoning]\nHm.\n[answer]\n\n\nYes.\n\nYes.\n", "\x1b[2mHm.\x1b[0m\n\nYes.\n\nYes.\n"},
		{"calls", []lib.Message{{Content: "Well"}, call, arguments, call}, "Well\n[call] f {\"a\": 1}\n[call] f \n", "Well\n\x1b[33m[call] f\x1b[0m {\"a\": 1}\n\x1b[33m[call] f\x1b[0m \n"},
		{"thought and called", []lib.Message{thought, call, arguments}, "[reasoning]\nHm.\n[call] f {\"a\": 1}\n", "\x1b[2mHm.\x1b[0m\n\x1b[33m[call] f\x1b[0m {\"a\": 1}\n"},
	} {
		for _, on := range []bool{false, true} {
			var out bytes.Buffer
			p := answerPrinter{out: &out, style: style{on}}
			for _, piece := range c.pieces {
				must(t, p.print(piece))
			}
			must(t, p.end())
			if want := map[bool]string{false: c.plain, true: c.styled}[on]; out.String() != want {
				t.Errorf("%s, style %v: got %q, want %q", c.name, on, out.String(), want)
			}
		}
	}
	var out bytes.Buffer
	p := answerPrinter{out: &out, hide: true}
	must(t, errors.Join(p.print(thought), p.print(said), p.end()))
	if out.String() != "\n\nYes.\n" {
		t.Errorf("hidden: %q", out.String())
	}
}

func TestParseTools(t *testing.T) {
	const one = `{"name": "f", "description": "<&>", "parameters": {"b": 1, "a": 2}}`
	for text, want := range map[string]string{
		"[]":             "",
		" [" + one + "]": one,
		`[{"type": "function", "function": ` + one + "}, {\"name\":\"g\"}]": one + `|{"name": "g"}`,
	} {
		if tools, err := parseTools(text); err != nil || strings.Join(tools, "|") != want {
			t.Errorf("%s gives %q, %v", text, tools, err)
		}
	}
	for text, want := range map[string]string{
		"":                         "expected a JSON list of tools",
		one:                        "found an object, expected a JSON list of tools",
		"[" + one:                  "expected a JSON list of tools",
		"[" + one + "] 1":          "found something after the list",
		`["f"]`:                    `tool 1: found "f", expected an object`,
		"[" + one + ", {}]":        `tool 2: found no "name"`,
		`[{"name": 1}]`:            "tool 1: found the name 1, expected a text",
		`[{"name": ""}]`:           `found the name ""`,
		`[{"name": "a\"b"}]`:       "found the name",
		`[{"function": {"x": 1}}]`: `tool 1: found no "name"`,
		"[" + strings.Repeat(one+",", maxTools) + one + "]": "found more than 2048 tools",
		strings.Repeat(" ", maxToolsBytes) + "[]":           "expected at most 4194304",
	} {
		if tools, err := parseTools(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s gives %q, %v, want %q", text, tools, err, want)
		}
	}
}

// FuzzParseTools: whatever a file holds, it is refused or gives tools that the format takes.
func FuzzParseTools(f *testing.F) {
	for _, text := range []string{"[]", `[{"name": "f", "parameters": {"a": [1e5, null]}}]`, `[{"function": {"name": "\u00e4"}}]`, "[", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tools, err := parseTools(text)
		if err != nil {
			return
		}
		for _, tool := range tools {
			if v, err := pyjson.Parse(tool); err != nil || v.String() != tool {
				t.Errorf("%q: %v", tool, err)
			}
		}
	})
}

// TestLineEditor: lines of keys, and what ends them.
func TestLineEditor(t *testing.T) {
	for _, c := range []struct{ name, keys, want string }{
		{"lines", "one\rtwo\r", "one|two|EOF"},
		{"edited", "onne\x1b[D\x7f\x05!\r", "one!|EOF"},
		{"history", "one\rtwo\r\x1b[A\x1b[A\r\x10\r", "one|two|one|one|EOF"},
		{"history after Ctrl-C", "one\r\x03\x1b[A\r", "one|^C empty|one|EOF"},
		{"Ctrl-C drops a line", "one\x03two\r", "^C|two|EOF"},
		{"Ctrl-C of nothing", "\x03\x03x\x7f\x03", "^C empty|^C empty|^C|EOF"},
		{"Ctrl-D", "\x04one\r", "EOF"},
		{"Ctrl-D deletes", "ab\x01\x04\r", "b|EOF"},
		{"pasted at once", "\x1b[200~a\rb\x1b[201~c\rd\r", "a\nbc|d|EOF"},
		{"pasted with its end", "\x1b[200~a\rb\r\x1b[201~\rd\r", "a\nb|d|EOF"},
		{"characters", "grün 🦊\x1b[D\x7f\r", "grün🦊|EOF"},
		{"hung up", "one", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, from := range []io.Reader{strings.NewReader(c.keys), iotest.OneByteReader(strings.NewReader(c.keys))} {
				var out bytes.Buffer
				e := newLineEditor(from, &out)
				var got []string
				for len(got) < 20 {
					line, err := e.read("> ", 80)
					var key *interruptedLine
					if errors.As(err, &key) {
						line = map[bool]string{true: "^C empty", false: "^C"}[key.empty]
					} else if err != nil {
						got = append(got, err.Error())
						break
					}
					got = append(got, line)
				}
				if text := strings.Join(got, "|"); text != c.want {
					t.Errorf("got %q, want %q; shown %q", text, c.want, out.String())
				}
			}
		})
	}
}

// FuzzLineEditor: no keys make it fail or go on for ever.
func FuzzLineEditor(f *testing.F) {
	for _, keys := range []string{"one\r", "\x1b[200~a\rb\x1b[201~\r", "\x03\x04", "\x1b[A\x1b[1;3D\x14\x0b\x15"} {
		f.Add(keys, 80)
	}
	f.Fuzz(func(t *testing.T, keys string, columns int) {
		e := newLineEditor(strings.NewReader(keys), io.Discard)
		for range len(keys) + 2 {
			if _, err := e.read("> ", max(columns, 1)); err == io.EOF {
				return
			}
		}
		t.Errorf("%q has more lines than keys", keys)
	})
}

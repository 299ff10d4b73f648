package deepseekv4

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"smelt.example/smelt/internal/models/chat"
)

// ownCase is a golden of testdata: a conversation whose last turn is an assistant's,
// its text, and what the parser makes of that turn's text.
type ownCase struct {
	Name, Mode, Text string
	Messages         []chat.Message
	Parsed           chat.Message
}

func readOwnChats(t *testing.T) (cases []ownCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/chat-calls-golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 5 {
		t.Fatalf("only %d goldens", len(cases))
	}
	return cases
}

// generated are the segments of a conversation behind the last opener: what a model
// would have generated.
func generated(segments []chat.Segment) []chat.Segment {
	for i := len(segments) - 1; i >= 0; i-- {
		if segments[i].Opens == chat.RoleAssistant {
			return segments[i+2:]
		}
	}
	return nil
}

func textOf(segments []chat.Segment) string {
	var text strings.Builder
	for _, s := range segments {
		text.WriteString(s.Text)
	}
	return text.String()
}

// TestChatCalls: conversations with calls and results have the texts of the goldens,
// and their last turns are parsed back, as tokens and as text.
func TestChatCalls(t *testing.T) {
	for _, c := range readOwnChats(t) {
		segments, err := ChatFormat{}.Encode(c.Messages, chat.Options{Mode: modeNamed(c.Mode)})
		if text := textOf(segments); err != nil || text != c.Text {
			t.Errorf("%s: %v\n  got  %q\n  want %q", c.Name, err, text, c.Text)
		}
		turn := generated(segments)
		c.Parsed.Role = chat.RoleAssistant
		for _, spelling := range []bool{false, true} {
			pieces := turn
			if spelling {
				pieces = []chat.Segment{{Text: textOf(turn)}}
			}
			got, err := chat.Parse(ChatFormat{}, pieces, chat.ParseOptions{Stage: chat.Options{Mode: modeNamed(c.Mode)}.Stage(nil), Tools: true, Spelling: spelling})
			if err != nil || !reflect.DeepEqual(got, c.Parsed) {
				t.Errorf("%s, spelling %v: %v\n  got  %+v\n  want %+v", c.Name, spelling, err, got, c.Parsed)
			}
		}
	}
}

// TestChatTools: the block of tools stands behind the system text, with the tools in
// Python's spelling and the markers in it special. The fixed texts are the ones the
// model was trained on.
func TestChatTools(t *testing.T) {
	for text, want := range map[string]string{
		toolsHead:          "c7c9042638154a237b5d1bd48be772374a35a4d24c5cacfd1ffbd92703da329c",
		toolsTail:          "690702850fe256512cb1ee67c4e436ecb3e735c71ebee77ca45ff357a75fb5a7",
		effortAbsolute:     "f7a24f3b3050d4a83781e9b755b316aae2ec1d9dc87562541d90bcb04d7350f7",
		effortBeyond:       "53fb31b8392ec5b4a926481943efc67636748f137c1a49d493a7af4d4fa55d2c",
		responseFormatHead: "5200f58413f49f3957c43beddbc97bead023232cb5934fad0c1997c30c139112",
	} {
		if sum := sha256.Sum256([]byte(text)); hex.EncodeToString(sum[:]) != want {
			t.Errorf("the text that begins %.30q has other bytes", text)
		}
	}
	messages := []chat.Message{
		{Role: chat.RoleSystem, Content: "s", Tools: []string{`{"name":"f","max":1e-7}`, `{"name":"<b>"}`}, ResponseFormat: `{"type":"object"}`},
		{Role: chat.RoleUser, Content: "u"},
	}
	segments, err := ChatFormat{Profile: P0731}.Encode(messages, chat.Options{Mode: chat.Thinking, Effort: "max"})
	want := tokenBegin + effortBeyond + "s\n\n" + toolsHead + `{"name": "f", "max": 1e-07}` + "\n" + `{"name": "<b>"}` + toolsTail +
		"\n\n" + responseFormatHead + `{"type": "object"}` + tokenUser + "u" + tokenAssistant + tokenThink
	if text := textOf(segments); err != nil || text != want {
		t.Errorf("%v\n got  %q\n want %q", err, text, want)
	}
	special := 0
	for _, s := range segments {
		if s.Special && s.Text == tokenDSML {
			special++
		}
	}
	if special != strings.Count(toolsHead, tokenDSML) || special == 0 {
		t.Errorf("%d of %d markers of the tools block are special", special, strings.Count(toolsHead, tokenDSML))
	}
}

const (
	called   = "x\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n"
	argument = "<｜DSML｜parameter name=\"a\" string=\"false\">1</｜DSML｜parameter>\n"
	finished = "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
)

// TestChatBrokenCalls: what can be read of broken markup is, the error names the first
// thing that is wrong, and a call without its end stays open.
func TestChatBrokenCalls(t *testing.T) {
	long := strings.Repeat("n", maxKey+10)
	for _, c := range []struct{ name, text, calls, want string }{
		{"text between tags", called + "hello" + argument + finished, `f{"a": 1}`, `found "h", expected <｜DSML｜parameter name="`},
		{"text before the call", "<｜DSML｜tool_calls>\n1" + called[len("x\n\n<｜DSML｜tool_calls>\n"):] + finished, `f{}`, `found "1", expected <｜DSML｜tool_calls> or <｜DSML｜invoke name="`},
		{"unknown tag", called + "<｜DSML｜param>" + argument + finished, `f{"a": 1}`, `found "<｜DSML｜param>", expected`},
		{"value ended by the call", called + strings.Replace(argument, "</｜DSML｜parameter>\n", "", 1) + finished, `f{"a": 1}`, `found </｜DSML｜invoke>, expected </｜DSML｜parameter>`},
		{"block ended in a call", called + argument + "</｜DSML｜tool_calls>", `f{"a": 1`, "found </｜DSML｜tool_calls>, expected </｜DSML｜invoke>"},
		{"call in a call", called + argument + called[len("x\n\n<｜DSML｜tool_calls>\n"):] + finished, `f{"a": 1 f{}`, `found <｜DSML｜invoke name=", expected </｜DSML｜invoke>`},
		{"no name", called + "<｜DSML｜parameter name=\"a</｜DSML｜parameter>" + finished, "f{}", `expected "> behind a parameter's name`},
		{"long name", "<｜DSML｜invoke name=\"" + long, "", "a tool's name of at most 4096 bytes"},
		{"long key", called + "<｜DSML｜parameter name=\"" + long + `" string="true">`, "f", "a parameter's key"},
		{"long value without attribute", called + "<｜DSML｜parameter name=\"\">" + long + "</｜DSML｜parameter>", "f", "a value without string attribute, of at most 65536 bytes"},
		{"long value", called + "<｜DSML｜parameter name=\"a\" string=\"false\">" + strings.Repeat("1", maxValue+1), `f{"a": `, "a value of at most 4194304 bytes"},
		{"many calls", "<｜DSML｜tool_calls>" + strings.Repeat("<｜DSML｜invoke name=\"f\"></｜DSML｜invoke>", maxCalls+1), strings.TrimSuffix(strings.Repeat("f{} ", maxCalls), " "), "at most 1000 calls"},
		{"deep value", called + "<｜DSML｜parameter name=\"a\" string=\"false\">" + strings.Repeat("[", 1000) + "</｜DSML｜parameter>" + finished, `f{"a": "` + strings.Repeat("[", 1000) + `"}`, ""},
		{"no tag behind the marker", "x\n\n<｜DSML｜", "", ""},
		{"the model runs on", called + argument + "</｜DSML｜inv" + tokenUser + "x", `f{"a": 1`, `found "</｜DSML｜inv`},
	} {
		m, err := chat.Parse(ChatFormat{}, []chat.Segment{{Text: c.text}}, chat.ParseOptions{Tools: true, Spelling: true})
		var calls []string
		for _, call := range m.ToolCalls {
			calls = append(calls, call.Name+call.Arguments)
		}
		if got := strings.Join(calls, " "); got != c.calls {
			t.Errorf("%s: got %.200s\n want %.200s", c.name, got, c.calls)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !errors.As(err, new(*chat.MarkupError)) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got error %v, want %q in it", c.name, err, c.want)
		}
	}
}

// TestChatLong: time grows with the text, whatever is in it.
func TestChatLong(t *testing.T) {
	const n = 20000
	block := called + strings.Repeat(strings.Replace(argument, ">1<", ">\"</think>\"<", 1), n) + finished
	text := strings.Repeat("</think><think>", n) + block
	m, err := chat.Parse(ChatFormat{}, []chat.Segment{{Text: text}}, chat.ParseOptions{Tools: true, Spelling: true})
	if want := strings.Repeat(tokenThink, n) + "x"; err != nil || m.Content != want {
		t.Errorf("%d bytes of content, expected %d; %v", len(m.Content), len(want), err)
	}
	if want := "{" + strings.Repeat(`, "a": "</think>"`, n)[2:] + "}"; len(m.ToolCalls) != 1 || m.ToolCalls[0].Arguments != want {
		t.Errorf("%d calls", len(m.ToolCalls))
	}
}

// TestChatEarly: each piece gives at once what is certain, and no more.
func TestChatEarly(t *testing.T) {
	p := ChatFormat{}.Parser(chat.ParseOptions{Stage: chat.InReasoning, Tools: true, Spelling: true})
	for _, step := range []struct{ piece, want string }{
		{"hm", "1hm"}, {" </th", "1 "}, {"ank", "1</thank"}, {"</think", ""}, {">Yes\n", "2Yes"}, {"\n\n", "2\n"},
		{"<", ""}, {"｜DSML", ""}, {"｜", ""}, {"tool_calls>\n<｜DSML｜invoke name=\"f", ""}, {"\">\n", "3f"},
		{"<｜DSML｜parameter name=\"a\" string=\"true", ""}, {"\">a\"", `4{"a": "a\"`}, {"</", ""}, {"b>\xc3", "4</b>"}, {"\xa9<", "4é"},
		{"/｜DSML｜", `4"`}, {"parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">[1", `4, "n": `}, {",2]</｜DSML｜parameter>", "4[1,2]"},
		{"</｜DSML｜invoke", ""}, {">", "4}"}, {"</｜DSML｜tool_calls>more", ""},
	} {
		if got := describeDeltas(p.Push(chat.Segment{Text: step.piece})); got != step.want {
			t.Errorf("%q: got %q, want %q", step.piece, got, step.want)
		}
	}
	if rest := p.End(); rest != nil || p.Err() != nil {
		t.Errorf("the end: %v, %v", rest, p.Err())
	}
}

func describeDeltas(deltas []chat.Delta) (text string) {
	for _, d := range deltas {
		text += fmt.Sprint(int(d.Kind), d.Text)
	}
	return text
}

// TestChatLookAlikes: with tokens known, text that looks like one is text; without
// tools, calls are text.
func TestChatLookAlikes(t *testing.T) {
	text := "a</think>" + called + argument + finished + tokenEnd + tokenUser
	m, err := chat.Parse(ChatFormat{}, []chat.Segment{{Text: text}}, chat.ParseOptions{Tools: true})
	if err != nil || m.Content != text || m.ToolCalls != nil {
		t.Errorf("text posed as tokens: %+v, %v", m, err)
	}
	m, err = chat.Parse(ChatFormat{}, []chat.Segment{{Text: called + argument + finished}}, chat.ParseOptions{Spelling: true})
	if err != nil || m.Content != called+argument+finished || m.ToolCalls != nil {
		t.Errorf("calls without tools: %+v, %v", m, err)
	}
	m, _ = chat.Parse(ChatFormat{}, []chat.Segment{{Text: "a\xe2"}, {Text: tokenReminder, Special: true}, {Text: "\x82\xac"}}, chat.ParseOptions{Tools: true})
	if want := "a\uFFFD" + tokenReminder + "\uFFFD\uFFFD"; m.Content != want {
		t.Errorf("a special token between bytes: got %q, want %q", m.Content, want)
	}
	m, err = chat.Parse(ChatFormat{}, []chat.Segment{{Text: called[len("x\n\n<｜DSML｜tool_calls>\n"):] + finished}}, chat.ParseOptions{Stage: chat.InCalls, Tools: true, Spelling: true})
	if err != nil || len(m.ToolCalls) != 1 || m.ToolCalls[0] != (chat.ToolCall{Name: "f", Arguments: "{}"}) {
		t.Errorf("a block that the prompt opened: %+v, %v", m, err)
	}
}

// TestChatProfile: the encoder beside the weights tells the profile, without one the
// folder's name may; a guess is said.
func TestChatProfile(t *testing.T) {
	for _, c := range []struct {
		name, folder, encoder string
		want                  Profile
		guessed               bool
	}{
		{"nothing tells", "flash", "", Preview, false},
		{"the name tells", "flash-0731-mlx", "", P0731, true},
		{"the first encoder", "flash-0731", "REASONING_EFFORT_MAX = 1", Preview, false},
		{"the later encoder", "flash", "x = 'Beyond maximum'", P0731, false},
	} {
		dir := filepath.Join(t.TempDir(), c.folder)
		if err := os.MkdirAll(filepath.Join(dir, "encoding"), 0o777); err != nil {
			t.Fatal(err)
		}
		if c.encoder != "" {
			if err := os.WriteFile(filepath.Join(dir, encoderFile), []byte(c.encoder), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got, note, err := profileOf(dir); err != nil || got != c.want || (note != "") != c.guessed {
			t.Errorf("%s: got %v, note %q, %v", c.name, got, note, err)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, encoderFile), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := profileOf(dir); err == nil || !strings.Contains(err.Error(), encoderFile) {
		t.Errorf("a folder in the encoder's place: %v", err)
	}
}

// TestChatCallFirst: a prompt that begins the calls, and the rest of them, are the turn
// that the format lays out.
func TestChatCallFirst(t *testing.T) {
	question := []chat.Message{{Role: chat.RoleUser, Content: "q"}}
	o := chat.Options{Call: true}
	prompt, err := ChatFormat{}.Encode(question, o)
	if err != nil {
		t.Fatal(err)
	}
	called := append(question, chat.Message{Role: chat.RoleAssistant, ToolCalls: []chat.ToolCall{{Name: "f", Arguments: `{"a": 1}`}}})
	whole, err := ChatFormat{}.Encode(called, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(textOf(whole), textOf(prompt))
	if !ok {
		t.Fatalf("%q does not begin with %q", textOf(whole), textOf(prompt))
	}
	m, err := chat.Parse(ChatFormat{}, []chat.Segment{{Text: rest}}, chat.ParseOptions{Stage: o.Stage(question), Tools: true, Spelling: true})
	if err != nil || !reflect.DeepEqual(m, called[1]) {
		t.Errorf("got %+v, %v", m, err)
	}
}

// asTokens makes segments of a text in which special tokens are told by spelling; some
// of them, by rng, are text that only looks like one.
func asTokens(rng *rand.Rand, text string) (out []chat.Segment) {
	for text != "" {
		at, token := len(text), ""
		for _, c := range append([]string{tokenReminder}, ChatFormat{}.Controls()...) {
			if i := strings.Index(text, c); i >= 0 && i < at && rng.IntN(8) > 0 {
				at, token = i, c
			}
		}
		out = append(out, chat.Segment{Text: text[:at]}, chat.Segment{Text: token, Special: token != ""})
		text = text[at+len(token):]
	}
	return out
}

// FuzzParseChat: for every way of cutting, deltas concatenate to the same message, with
// the same error; they are whole characters, in order.
func FuzzParseChat(f *testing.F) {
	for i, text := range []string{"a</think>\n\n" + called + argument + finished + tokenEnd, called + argument + called + finished, "é <", "\n\n<｜DSML｜foo>" + argument,
		called + "<｜DSML｜parameter name=\"a\">x\"</｜DSML｜parameter>" + finished, "<think>\xff" + tokenUser, called + "<｜DSML｜parameter name=\"k\" string=\"true\">a</b\n"} {
		f.Add(text, uint64(i), uint8(i), i%3 == 0, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64, stage uint8, hidden, spelling bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		o := chat.ParseOptions{Stage: chat.Stage(stage % 3), Tools: !hidden, Spelling: spelling}
		whole := []chat.Segment{{Text: text}}
		if !spelling {
			whole = asTokens(rng, text)
		}
		want, wantErr := chat.Parse(ChatFormat{}, whole, o)
		for _, most := range []int{1, 4, 20} {
			p, got, last := ChatFormat{}.Parser(o), chat.Message{Role: chat.RoleAssistant}, chat.DeltaReasoning
			take := func(deltas []chat.Delta) {
				for _, d := range deltas {
					if !utf8.ValidString(d.Text) || d.Text == "" && d.Kind != chat.DeltaCall || min(d.Kind, chat.DeltaCall) < min(last, chat.DeltaCall) {
						t.Fatalf("delta %+v after one of kind %d", d, last)
					}
					got.Add(d)
					last = d.Kind
				}
			}
			for _, s := range whole {
				if s.Special {
					take(p.Push(s))
					continue
				}
				for _, piece := range cutText(rng, s.Text, most) {
					take(p.Push(piece))
				}
			}
			take(p.End())
			if !reflect.DeepEqual(got, want) || fmt.Sprint(p.Err()) != fmt.Sprint(wantErr) {
				t.Fatalf("pieces of up to %d bytes\n  got  %+v, %v\n  want %+v, %v", most, got, p.Err(), want, wantErr)
			}
		}
	})
}

// FuzzChatRoundTrip: a turn that was laid out is parsed to its message, whatever its
// texts look like, and what was parsed is laid out as the same segments.
func FuzzChatRoundTrip(f *testing.F) {
	f.Add("r", "c", "f", `{"a":1,"b":"x"}`, true)
	f.Add("</think>", "x\n\n<", "f", "no json", true)
	f.Add("", "<｜DSML｜tool_calls>", "", `{"a":"</｜DSML｜parameter>","":[1E3,{"z":null,"a":0.10}]}`, false)
	f.Fuzz(func(t *testing.T, reasoning, content, tool, args string, thinking bool) {
		o := chat.Options{Mode: chat.Answer}
		if thinking {
			o.Mode = chat.Thinking
		}
		for _, s := range []string{reasoning, content, tool, args} {
			if !utf8.ValidString(s) {
				t.Skip("a model's text has whole characters only")
			}
		}
		keys := fmt.Sprint(arguments(args))
		if strings.Contains(tool, `">`) || len(tool) > maxName || len(args) > maxKey/2 || strings.Contains(keys, `" string="`) {
			t.Skip("the format escapes nothing")
		}
		m := chat.Message{Role: chat.RoleAssistant, Content: content, ToolCalls: []chat.ToolCall{{Name: tool, Arguments: args}, {Name: "g", Arguments: "{}"}}}
		if thinking {
			m.Reasoning = reasoning
		}
		encode := func(m chat.Message) []chat.Segment {
			s, err := ChatFormat{}.Encode([]chat.Message{{Role: chat.RoleUser}, m}, o)
			if err != nil {
				t.Fatal(err)
			}
			return generated(s)
		}
		turn := encode(m)
		if text := textOf(turn); strings.Contains(text, "Infinity") || strings.Contains(text, "NaN") {
			t.Skip("JSON has no such numbers")
		}
		got, err := chat.Parse(ChatFormat{}, turn, chat.ParseOptions{Stage: o.Stage(nil), Tools: true})
		if err != nil || got.Reasoning != m.Reasoning || got.Content != m.Content || len(got.ToolCalls) != 2 || got.ToolCalls[0].Name != tool || got.ToolCalls[1] != m.ToolCalls[1] {
			t.Fatalf("%v\n  got  %+v\n  want %+v", err, got, m)
		}
		if again := encode(got); !slices.Equal(again, turn) {
			t.Fatalf("laid out again\n  got  %q\n  want %q", textOf(again), textOf(turn))
		}
	})
}

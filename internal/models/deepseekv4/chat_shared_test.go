package deepseekv4

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models/tokenizer"
)

// sharedChats are the shared goldens of the chat format, made with the model's own
// encoder and the vendor's parser.
type sharedChats struct {
	Encode, EncodeErrors []encodeCase
	Parse, Recover       []parseCase
	Request              []requestCase
}

type encodeCase struct {
	Name, Profile, Mode string
	Effort              *string
	DropThinking        *bool `json:"drop_thinking"`
	Messages            []sharedMessage
	Prompt              string
	Special             [][2]int
	IDs                 []int32 `json:"storyteller_ids"`
}

type parseCase struct {
	Name, Mode, Completion, Reasoning, Content string
	ToolCalls                                  []chat.ToolCall `json:"tool_calls"`
	IDs                                        []int32         `json:"storyteller_ids"`
}

// requestCase is a body of the API. Those whose last message is continued need nothing
// that a server does before the format's turn.
type requestCase struct {
	Name, Prompt string
	Request      struct {
		Messages []sharedMessage
		Thinking struct{ Type string }
	}
}

// sharedMessage is a message in the encoder's own schema.
type sharedMessage struct {
	Role, Task     string
	Content        json.RawMessage
	Reasoning      *string         `json:"reasoning_content"`
	ToolCallID     string          `json:"tool_call_id"`
	ResponseFormat json.RawMessage `json:"response_format"`
	Unfinished     bool            `json:"wo_eos"`
	Prefix         bool
	Tools          []struct{ Function json.RawMessage }
	ToolCalls      []struct {
		ID       string
		Function chat.ToolCall
	} `json:"tool_calls"`
}

func (m sharedMessage) message(t *testing.T) chat.Message {
	t.Helper()
	out := chat.Message{Role: m.Role, Task: m.Task, ToolCallID: m.ToolCallID, ResponseFormat: string(m.ResponseFormat), Unfinished: m.Unfinished}
	if len(m.Content) > 0 && m.Content[0] == '[' {
		var parts []chat.Part
		if err := json.Unmarshal(m.Content, &parts); err != nil {
			t.Fatal(err)
		}
		out.Content = chat.JoinParts(parts)
	} else if m.Content != nil {
		if err := json.Unmarshal(m.Content, &out.Content); err != nil {
			t.Fatal(err)
		}
	}
	if m.Reasoning != nil {
		out.Reasoning = *m.Reasoning
	}
	for _, x := range m.Tools {
		out.Tools = append(out.Tools, string(x.Function))
	}
	for _, c := range m.ToolCalls {
		c.Function.ID = c.ID
		out.ToolCalls = append(out.ToolCalls, c.Function)
	}
	return out
}

func (c encodeCase) input(t *testing.T) (ChatFormat, []chat.Message, chat.Options) {
	t.Helper()
	f, o := ChatFormat{}, chat.Options{Mode: modeNamed(c.Mode), KeepReasoning: c.DropThinking != nil && !*c.DropThinking}
	if c.Profile == P0731.String() {
		f.Profile = P0731
	}
	if c.Effort != nil {
		o.Effort = *c.Effort
	}
	var messages []chat.Message
	for _, m := range c.Messages {
		messages = append(messages, m.message(t))
	}
	return f, messages, o
}

// modeNamed is the mode of a golden; a name that is none gives a mode that is none.
func modeNamed(name string) chat.Mode {
	return chat.Mode(slices.Index([]string{"chat", "thinking"}, name))
}

func readSharedChats(t *testing.T) sharedChats {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(sharedDir(t), "chat", "goldens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var shared sharedChats
	kinds := map[string]any{"encode": &shared.Encode, "encode_errors": &shared.EncodeErrors, "parse": &shared.Parse, "recover": &shared.Recover, "request": &shared.Request}
	for kind, raw := range file {
		into, known := kinds[kind]
		switch {
		case known:
			if err := json.Unmarshal(raw, into); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		case raw[0] == '[':
			t.Fatalf("goldens of the kind %q run in no test", kind)
		}
	}
	return shared
}

// TestSharedCount: all goldens that there were are there, and each kind has a test that runs
// every one: encode, encode_errors, parse and recover here, parse and recover in
// internal/server too, request in internal/server/openai.
func TestSharedCount(t *testing.T) {
	shared := readSharedChats(t)
	found := [...]int{len(shared.Encode), len(shared.EncodeErrors), len(shared.Parse), len(shared.Recover), len(shared.Request)}
	all := 0
	for i, least := range [...]int{128, 6, 23, 18, 31} {
		if found[i] < least {
			t.Errorf("kind %d has %d goldens, it had %d", i, found[i], least)
		}
		all += found[i]
	}
	t.Logf("%d goldens", all)
}

// sharedDir is the folder of shared fixtures.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SMELT_SHARED")
	if dir == "" {
		t.Skip("SMELT_SHARED is unset: it names the folder of shared fixtures")
	}
	return dir
}

func storytellerTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(filepath.Join(sharedDir(t), "tokenizers", "storyteller", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestSharedEncode: prompts are those of the model's own encoder to the byte, and so
// are the places of special tokens and the token ids.
func TestSharedEncode(t *testing.T) {
	shared, tok := readSharedChats(t), storytellerTokenizer(t)
	for _, c := range shared.Encode {
		t.Run(c.Name, func(t *testing.T) {
			f, messages, o := c.input(t)
			segments, err := f.Encode(messages, o)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			var special [][2]int
			for _, s := range segments {
				start := text.Len()
				text.WriteString(s.Text)
				if s.Special {
					special = append(special, [2]int{start, text.Len()})
				}
			}
			if text.String() != c.Prompt {
				t.Fatalf("text\n  got  %q\n  want %q", text.String(), c.Prompt)
			}
			if !slices.Equal(special, c.Special) {
				t.Errorf("special\n  got  %v\n  want %v", special, c.Special)
			}
			if c.IDs == nil {
				return
			}
			if ids, err := chat.Tokens(f, messages, o, tok); err != nil || !slices.Equal(ids, c.IDs) {
				t.Errorf("ids\n  got  %v, %v\n  want %v", ids, err, c.IDs)
			}
		})
	}
	for _, c := range shared.EncodeErrors {
		t.Run(c.Name, func(t *testing.T) {
			f, messages, o := c.input(t)
			if _, err := f.Encode(messages, o); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestSharedContinue: a last message that is continued stays open at its end.
func TestSharedContinue(t *testing.T) {
	continued := 0
	for _, c := range readSharedChats(t).Request {
		if n := len(c.Request.Messages); !c.Request.Messages[n-1].Prefix {
			continue
		}
		var messages []chat.Message
		for _, m := range c.Request.Messages {
			messages = append(messages, m.message(t))
		}
		continued++
		o := chat.Options{Mode: chat.Thinking, Continue: true}
		if c.Request.Thinking.Type == "disabled" {
			o.Mode = chat.Answer
		}
		segments, err := ChatFormat{}.Encode(messages, o)
		if text := textOf(segments); err != nil || text != c.Prompt {
			t.Errorf("%s: %v\n  got  %q\n  want %q", c.Name, err, text, c.Prompt)
		}
		if got, open := o.Stage(messages), strings.LastIndex(c.Prompt, tokenThink) > strings.LastIndex(c.Prompt, tokenEndThink); (got == chat.InReasoning) != open {
			t.Errorf("%s: the text begins in stage %v", c.Name, got)
		}
	}
	if continued < 3 {
		t.Errorf("only %d goldens are continued", continued)
	}
}

func (c parseCase) options(spelling bool) chat.ParseOptions {
	return chat.ParseOptions{Stage: chat.Options{Mode: modeNamed(c.Mode)}.Stage(nil), Tools: true, Spelling: spelling}
}

func (c parseCase) check(t *testing.T, how string, m chat.Message) {
	t.Helper()
	if m.Reasoning != c.Reasoning || m.Content != c.Content || !slices.Equal(m.ToolCalls, c.ToolCalls) {
		t.Errorf("%s: %s\n  got  %q %q %+v\n  want %q %q %+v", c.Name, how, m.Reasoning, m.Content, m.ToolCalls, c.Reasoning, c.Content, c.ToolCalls)
	}
}

// TestSharedParse: messages are those of the goldens, from the text in one piece, by
// bytes and cut at random, and from the tokens.
func TestSharedParse(t *testing.T) {
	shared, tok := readSharedChats(t), storytellerTokenizer(t)
	rng := rand.New(rand.NewPCG(5, 17))
	for _, c := range slices.Concat(shared.Parse, shared.Recover) {
		t.Run(c.Name, func(t *testing.T) {
			for _, most := range []int{1, 2, 3, 7, 1 << 20} {
				m, _ := chat.Parse(ChatFormat{}, cutText(rng, c.Completion, most), c.options(true))
				c.check(t, fmt.Sprintf("pieces of up to %d bytes", most), m)
			}
			ids, err := tok.Encode(c.Completion)
			if err != nil || c.IDs != nil && !slices.Equal(ids, c.IDs) {
				t.Fatalf("the completion is %v, %v; want %v", ids, err, c.IDs)
			}
			p := chat.NewTokenParser(ChatFormat{}, c.options(false), tok, tok.NewStream(false))
			m, err := chat.ParseTokens(p, ids)
			if err != nil {
				t.Error(err)
			}
			c.check(t, "tokens", m)
		})
	}
}

// TestRecover: completions that are malformed, cut off or tricky become messages, however
// they are cut.
func TestRecover(t *testing.T) {
	data, err := os.ReadFile("testdata/chat-recover.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []parseCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for _, c := range cases {
		for _, most := range []int{1, 2, 5, 1 << 20} {
			m, _ := chat.Parse(ChatFormat{}, cutText(rng, c.Completion, most), c.options(true))
			c.check(t, fmt.Sprintf("pieces of up to %d bytes", most), m)
		}
	}
}

// cutText cuts a text into pieces of 1 to most bytes.
func cutText(rng *rand.Rand, text string, most int) (pieces []chat.Segment) {
	for text != "" {
		n := min(1+rng.IntN(most), len(text))
		if most >= len(text) && most > 100 {
			n = len(text)
		}
		pieces, text = append(pieces, chat.Segment{Text: text[:n]}), text[n:]
	}
	return pieces
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// runArgs is a command line that runs on the reference device, unless it names
// another: what is not about devices need not compile kernels.
func runArgs(args ...string) []string {
	if !slices.Contains(args, "--device") {
		args = append(args, "--device", "reference")
	}
	return append([]string{"run"}, args...)
}

// runText runs without --json and returns both streams.
func runText(t *testing.T, stdin string, args ...string) (out, errors string) {
	t.Helper()
	r := smelt(t, stdin, runArgs(args...)...)
	if r.status != 0 || strings.Contains(r.errors, "smelt:") {
		t.Fatalf("smelt %q: status %d, standard error:\n%s", r.args, r.status, r.errors)
	}
	return r.out, r.errors
}

func runJSON(t *testing.T, stdin string, args ...string) (r runReport) {
	t.Helper()
	decodeStrictly(t, smelt(t, stdin, runArgs(append([]string{"--json"}, args...)...)...).succeeds(t), &r)
	return r
}

// TestRunGolden: greedy text is the reference's, to the byte.
func TestRunGolden(t *testing.T) {
	data, err := os.ReadFile("../../examples/storyteller/testdata/golden-mlx-4bit.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Greedy []struct {
			Prompt    string  `json:"prompt"`
			PromptIDs []int32 `json:"prompt_ids"`
			IDs       []int32 `json:"ids"`
			Text      string  `json:"text"`
		} `json:"greedy"`
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Greedy) == 0 {
		t.Fatal("no golden texts")
	}
	x := g.Greedy[0] // the example's own tests have all of them
	n := fewer(64)
	r := runJSON(t, "", storyteller, "-p", x.Prompt, "--temp", "0", "-n", fmt.Sprint(n))
	whole := n == len(x.IDs)
	if !strings.HasPrefix(x.Text, r.Text) || whole != (r.Text == x.Text) || !slices.Equal(r.Tokens, x.IDs[:n]) || r.PromptTokens != len(x.PromptIDs) {
		t.Errorf("%q goes on with %q %v, reference %q %v", x.Prompt, r.Text, r.Tokens, x.Text, x.IDs)
	}
}

// TestRunForms: each way to ask for the same text gives it.
func TestRunForms(t *testing.T) {
	const prompt = "Once upon a time"
	n := fewer(6)
	greedy := []string{storyteller, "--temp", "0", "--max-tokens", fmt.Sprint(n)}
	with := func(more ...string) []string { return append(slices.Clone(greedy), more...) }
	r := runJSON(t, "", with("--prompt", prompt)...)
	if r.Text == "" || len(r.Tokens) != n || r.PromptTokens != 5 || r.StopReason != "length" || r.Device != "reference" || !(r.PromptSeconds > 0) || !(r.DecodeSeconds > 0) {
		t.Fatalf("got %+v", r)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"flag", "unread", []string{"-p", prompt}, r.Text + "\n"},
		{"standard input", prompt, nil, r.Text + "\n"},
		{"standard input that ends in a newline", prompt + "\n", nil, r.Text + "\n"},
		{"and in DOS's", prompt + "\r\n", nil, r.Text + "\n"},
		{"echo", "", []string{"-p", prompt, "--echo"}, prompt + r.Text + "\n"},
		{"echo of standard input", prompt, []string{"--echo"}, prompt + r.Text + "\n"},
		{"the token that is put first is there", "", []string{"-p", "<｜begin▁of▁sentence｜>" + prompt}, r.Text + "\n"},
		{"the same without it being put", "", []string{"--no-bos", "-p", "<｜begin▁of▁sentence｜>" + prompt}, r.Text + "\n"},
		{"small steps", "", []string{"-p", prompt, "--chunk", "1"}, r.Text + "\n"},
		{"filters of which greedy takes no notice", "", []string{"-p", prompt, "--top-k", "3", "--top-p", "0.1", "--min-p", "1", "--seed", "9"}, r.Text + "\n"},
		{"temperature so low that it is greedy", "", []string{"-p", prompt, "--temp", "1e-9"}, r.Text + "\n"},
		{"one token to choose from", "", []string{"-p", prompt, "--temp", "2", "--top-k", "1"}, r.Text + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errors := runText(t, c.stdin, with(c.args...)...)
			if out != c.want {
				t.Errorf("got %q, want %q", out, c.want)
			}
			if !strings.Contains(errors, "prompt 5 tokens") || !strings.Contains(errors, "text "+plural(n, "token")) || !strings.Contains(errors, "stopped: length\n") || !strings.Contains(errors, "device reference, temperature ") {
				t.Errorf("standard error:\n%s", errors)
			}
		})
	}
	if bare := runJSON(t, "", with("--prompt", prompt, "--no-bos")...); bare.PromptTokens != 4 {
		t.Errorf("with --no-bos the prompt has %d tokens, expected 4", bare.PromptTokens)
	}
	if empty := runJSON(t, "", greedy...); empty.PromptTokens != 1 || len(empty.Tokens) != n {
		t.Errorf("from an empty prompt: %+v", empty)
	}
}

// TestRunStreams: text comes out piece by piece and not at the end.
func TestRunStreams(t *testing.T) {
	var out pieces
	smeltWith(t.Context(), &out, runArgs(storyteller, "-p", "Once upon a time", "--temp", "0", "-n", "8")...)
	if out.written < 8 {
		t.Errorf("%q came in %d pieces", out.text, out.written)
	}
}

// pieces counts writes, and calls full when it holds limit bytes.
type pieces struct {
	text           string
	written, limit int
	full           func()
}

func (p *pieces) Write(b []byte) (int, error) {
	p.written++
	p.text += string(b)
	if p.full != nil && len(p.text) >= p.limit {
		p.full()
	}
	return len(b), nil
}

func TestRunSeed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs a model several times")
	}
	sample := []string{storyteller, "-p", "Once upon a time", "--temp", "1", "-n", "8"}
	with := func(more ...string) []string { return append(slices.Clone(sample), more...) }
	drawn, other := runJSON(t, "", sample...), runJSON(t, "", sample...)
	if drawn.Seed == other.Seed {
		t.Errorf("two runs draw the seed %d", drawn.Seed)
	}
	const largest = "18446744073709551615"
	fixed := runJSON(t, "", with("--seed", largest)...)
	if again := runJSON(t, "", with("--seed", largest, "--chunk", "2")...); again.Text != fixed.Text || again.Seed != 1<<64-1 {
		t.Errorf("the same seed gives %q and %q", fixed.Text, again.Text)
	}
	if third := runJSON(t, "", with("--seed", "1")...); third.Text == fixed.Text {
		t.Errorf("two seeds give %q", third.Text)
	}
	if _, errors := runText(t, "", with("--seed", largest)...); !strings.Contains(errors, "temperature 1, seed "+largest+"\n") {
		t.Errorf("standard error:\n%s", errors)
	}
}

// TestRunTexts: --n gives texts that differ in their random numbers only, the first of them the
// one without it, however many are generated at once.
func TestRunTexts(t *testing.T) {
	sample := []string{storyteller, "-p", "The old", "--temp", "1.5", "--seed", "4", "-n", "6", "--context", "32"}
	with := func(more ...string) []string { return append(slices.Clone(sample), more...) }
	alone, three := runJSON(t, "", sample...), runJSON(t, "", with("--n", "3")...)
	if len(three.Others) != 2 || three.Text != alone.Text || three.Others[0].Text == alone.Text || three.Others[1].Text == three.Others[0].Text {
		t.Fatalf("alone %+v, of three %+v", alone, three)
	}
	for _, x := range three.Others {
		if len(x.Tokens) != 6 || x.StopReason != "length" || x.Message != nil || x.LogProbs != nil {
			t.Errorf("%+v", x)
		}
	}
	out, errors := runText(t, "", with("--n", "3", "--slots", "1")...)
	want := "[text 1]\n" + three.Text + "\n[text 2]\n" + three.Others[0].Text + "\n[text 3]\n" + three.Others[1].Text + "\n"
	if out != want || !strings.Contains(errors, "text 3: prompt 3 tokens in ") {
		t.Errorf("got %q, want %q\n%s", out, want, errors)
	}
}

// TestRunLogProbs: each token comes with its probability, and the greedy one is the best.
func TestRunLogProbs(t *testing.T) {
	greedy := []string{storyteller, "-p", "Once upon a time", "--temp", "0", "-n", "4", "--context", "32"}
	plain, bare, two := runJSON(t, "", greedy...), runJSON(t, "", append(greedy, "--logprobs", "0")...), runJSON(t, "", append(greedy, "--logprobs", "2")...)
	if plain.LogProbs != nil || len(bare.LogProbs) != 4 || len(two.LogProbs) != 4 {
		t.Fatalf("%+v, %+v", bare, two)
	}
	text := ""
	for i, p := range two.LogProbs {
		text += p.Text
		if len(bare.LogProbs[i].Top) != 0 || bare.LogProbs[i].LogProb != p.LogProb || p.Token != two.Tokens[i] || len(p.Top) != 2 || p.Top[0] != p.tokenLogProb || !(p.LogProb < 0) || !(p.Top[1].LogProb < p.LogProb) {
			t.Errorf("%d: %+v, %+v", i, bare.LogProbs[i], p)
		}
	}
	if text != plain.Text {
		t.Errorf("tokens %q, text %q", text, plain.Text)
	}
}

// TestRunReasoning: with --chat the reasoning and the answer are apart.
func TestRunReasoning(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs a model several times")
	}
	ask := []string{storyteller, "--chat", "-p", "Why?", "--temp", "0", "-n", "5", "--context", "64"}
	for _, think := range []bool{false, true} {
		args := ask
		if think {
			args = append(slices.Clone(ask), "--think", "--effort", "high")
		}
		r := runJSON(t, "", args...)
		if m := r.Message; m == nil || m.Reasoning+m.Content != r.Text || (m.Reasoning != "") != think {
			t.Fatalf("think %v: %+v", think, r)
		}
		mark, hidden := "", r.Text+"\n"
		if think {
			mark, hidden = "[reasoning]\n", "\n"
		}
		if out, _ := runText(t, "", args...); out != mark+r.Text+"\n" {
			t.Errorf("think %v: %q, expected %q", think, out, mark+r.Text+"\n")
		}
		if out, _ := runText(t, "", append(slices.Clone(args), "--hide-thinking")...); out != hidden {
			t.Errorf("think %v, hidden: %q", think, out)
		}
	}
}

// TestRunEnds has a way to end a row.
func TestRunEnds(t *testing.T) {
	full := runJSON(t, "", storyteller, "-p", "Once upon a time", "--temp", "0", "--context", "30")
	if full.StopReason != "context is full" || full.PromptTokens+len(full.Tokens) != 30 {
		t.Errorf("%d and %d tokens, %s; the context is 30", full.PromptTokens, len(full.Tokens), full.StopReason)
	}
	none := runJSON(t, "", storyteller, "-p", "Once upon a time", "--context", "5")
	if none.StopReason != "context is full" || none.Tokens == nil || len(none.Tokens) != 0 || none.Text != "" {
		t.Errorf("with a full context: %+v", none)
	}
	if out, _ := runText(t, "", storyteller, "-p", "Once upon a time", "--context", "5"); out != "\n" {
		t.Errorf("no text is %q", out)
	}

	dir := copyOf(t, storyteller)
	stop := full.Tokens[10]
	list, err := json.Marshal(map[string]any{"eos_token_id": []int32{4000, stop}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "generation_config.json"), string(list))
	at := slices.Index(full.Tokens, stop)
	r := runJSON(t, "", dir, "-p", "Once upon a time", "-n", "30")
	if r.StopReason != "stop token" || !slices.Equal(r.Tokens, full.Tokens[:at]) {
		t.Errorf("with %d as the end: %v, %s; want the %d tokens before it", stop, r.Tokens, r.StopReason, at)
	}
}

// TestRunDefaults: generation_config.json speaks where flags are silent.
func TestRunDefaults(t *testing.T) {
	for _, c := range []struct {
		name, file string // "" is the example's own
		args       []string
		want       string
	}{
		{"the example's", "", nil, "temperature 0.7, seed "},
		{"flag", "", []string{"--temp", "0.3"}, "temperature 0.3, seed "},
		{"greedy flag", "", []string{"--temp", "0"}, "temperature 0\n"},
		{"silent file", "{}", nil, "temperature 0\n"},
		{"no sampling", `{"do_sample": false, "temperature": 3}`, nil, "temperature 0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := storyteller
			if c.file != "" {
				dir = copyOf(t, storyteller)
				writeFile(t, filepath.Join(dir, "generation_config.json"), c.file)
			}
			if _, errors := runText(t, "", append([]string{dir, "-p", "Once", "-n", "1"}, c.args...)...); !strings.Contains(errors, c.want) {
				t.Errorf("standard error does not say %q:\n%s", c.want, errors)
			}
		})
	}
}

// TestRunChat: prompts are the tokens of the reference's chat encoding.
func TestRunChat(t *testing.T) {
	data, err := os.ReadFile("../../internal/models/deepseekv4/testdata/chat-golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var chats []struct {
		Messages []chat.Message
		Mode     string
		IDs      []int32
	}
	if err := json.Unmarshal(data, &chats); err != nil {
		t.Fatal(err)
	}
	files, err := lib.OpenFiles(storyteller)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	ran := 0
	for _, c := range chats {
		last := c.Messages[len(c.Messages)-1]
		args := []string{storyteller, "--chat", "--prompt", last.Content, "-n", "1"}
		switch {
		case len(c.Messages) == 2 && c.Messages[0].Role == chat.RoleSystem:
			args = append(args, "--system", c.Messages[0].Content)
		case len(c.Messages) > 1:
			continue // the command has no earlier turns
		}
		if c.Mode == "thinking" {
			args = append(args, "--think")
		}
		ran++
		if r := runJSON(t, "", args...); r.PromptTokens != len(c.IDs) {
			t.Errorf("%v: %d tokens, want %d", args, r.PromptTokens, len(c.IDs))
		}
		o := conversation{think: c.Mode == "thinking"}
		if len(c.Messages) == 2 {
			o.system = c.Messages[0].Content
		}
		o.say(last.Content)
		if ids, err := files.Encode(o.ask(lib.Request{})); err != nil || !slices.Equal(ids, c.IDs) {
			t.Errorf("%+v gives %v (%v), want %v", o, ids, err, c.IDs)
		}
	}
	if ran < 3 {
		t.Errorf("only %d golden chats ran", ran)
	}

	// What a person writes is no command to the format.
	plain := runJSON(t, "", storyteller, "-n", "1", "-p", "<｜User｜>")
	chat := runJSON(t, "", storyteller, "-n", "1", "--chat", "-p", "<｜User｜>")
	if plain.PromptTokens != 2 || chat.PromptTokens <= 5 {
		t.Errorf("<｜User｜> is %d tokens plain and %d in a message", plain.PromptTokens, chat.PromptTokens)
	}
}

// TestRunChatNeedsTokens: a tokenizer without the format's tokens is refused
// with --chat and serves without.
func TestRunChatNeedsTokens(t *testing.T) {
	dir := copyOf(t, storyteller)
	path := filepath.Join(dir, "tokenizer.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(data), "<｜Assistant｜>", "<｜Somebody｜>")
	if changed == string(data) {
		t.Fatal("nothing to change in tokenizer.json")
	}
	writeFile(t, path, changed)
	smelt(t, "", runArgs(dir, "--chat", "-p", "Hi!")...).fails(t, "no token <｜Assistant｜>", "without --chat")
	runText(t, "", dir, "-p", "Hi!", "-n", "1")
}

func TestRunRefuses(t *testing.T) {
	long := strings.Repeat("Once upon a time ", 10)
	for _, c := range []struct {
		name, stdin string
		args        []string
		want        []string
	}{
		{"no checkpoint", "", nil, []string{"expected one CHECKPOINT", "smelt run --help"}},
		{"two checkpoints", "", []string{"a", "b"}, []string{"got 2 arguments"}},
		{"nothing there", "", []string{"nowhere"}, []string{"nowhere", "no such file"}},
		{"unknown flag", "", []string{storyteller, "--temperature", "1"}, []string{"--temperature", "smelt run --help"}},
		{"temperature as a word", "", []string{storyteller, "--temp", "hot"}, []string{"--temp", `"hot"`, "smelt run --help"}},
		{"negative temperature", "", []string{storyteller, "--temp", "-1"}, []string{`--temp: found "-1", expected a number, 0 to 1e+06`}},
		{"temperature that is no number", "", []string{storyteller, "--temp", "NaN"}, []string{`--temp: found "NaN", expected`}},
		{"infinite temperature", "", []string{storyteller, "--temp", "inf"}, []string{`--temp: found "inf", expected`}},
		{"negative top-k", "", []string{storyteller, "--top-k", "-1"}, []string{`--top-k: found "-1", expected`}},
		{"top-p of 0", "", []string{storyteller, "--top-p", "0"}, []string{`--top-p: found "0", expected a number, above 0, to 1`}},
		{"top-p above 1", "", []string{storyteller, "--top-p", "1.5"}, []string{`--top-p: found "1.5", expected`}},
		{"min-p above 1", "", []string{storyteller, "--min-p", "2"}, []string{`--min-p: found "2", expected`}},
		{"negative seed", "", []string{storyteller, "--seed", "-1"}, []string{"--seed", `"-1"`}},
		{"no tokens", "", []string{storyteller, "--max-tokens", "0"}, []string{`--max-tokens: found "0", expected`}},
		{"negative tokens", "", []string{storyteller, "-n", "-5"}, []string{`--max-tokens: found "-5", expected`}},
		{"no context", "", []string{storyteller, "--context", "0"}, []string{`--context: found "0", expected`}},
		{"context beyond the model", "", []string{storyteller, "--context", "16385"}, []string{"--context 16385", "at most 16384 tokens"}},
		{"no chunk", "", []string{storyteller, "--chunk", "0"}, []string{`--chunk: found "0", expected`}},
		{"system without chat", "", []string{storyteller, "--system", ""}, []string{"--system needs --chat"}},
		{"effort without think", "", []string{storyteller, "--chat", "--effort", "max"}, []string{"--effort needs --think"}},
		{"an effort that is none", "", []string{storyteller, "--chat", "--think", "--effort", "loud", "-p", "Hi"}, []string{`found effort "loud"`}},
		{"hidden without chat", "", []string{storyteller, "--hide-thinking"}, []string{"--hide-thinking needs --chat"}},
		{"probabilities without JSON", "", []string{storyteller, "--logprobs", "1"}, []string{"--logprobs needs --json"}},
		{"no text", "", []string{storyteller, "--n", "0"}, []string{"--n: found \"0\", expected a whole number, 1 to 128"}},
		{"think without chat", "", []string{storyteller, "--think"}, []string{"--think needs --chat"}},
		{"chat without its first token", "", []string{storyteller, "--chat", "--no-bos"}, []string{"--no-bos contradicts --chat"}},
		{"echo in JSON", "", []string{storyteller, "--echo", "--json"}, []string{"--echo contradicts --json"}},
		{"no tokenizer", "", []string{plainFixture, "-p", "x"}, []string{plainFixture, "no tokenizer.json", "copy it"}},
		{"nothing at all to go on from", "", []string{storyteller, "--no-bos"}, []string{"the prompt is empty", "--no-bos"}},
		{"prompt too long", "", []string{storyteller, "-p", long, "--context", "10"}, []string{"0 tokens and 51 more exceed the context of 10", "--context"}},
		{"prompt too long by one", "", []string{storyteller, "-p", "Once upon a time", "--context", "4"}, []string{"0 tokens and 5 more exceed the context of 4"}},
		{"invalid UTF-8", "a\xffb", []string{storyteller}, []string{"standard input: ", "not valid UTF-8 at byte 1"}},
		{"invalid UTF-8 in the flag", "", []string{storyteller, "-p", "\xff"}, []string{"--prompt: ", "not valid UTF-8 at byte 0"}},
		{"invalid UTF-8 in chat", "", []string{storyteller, "--chat", "-p", "\xff"}, []string{"--prompt: ", "not valid UTF-8 at byte 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, c.stdin, runArgs(c.args...)...).fails(t, c.want...)
		})
	}
}

// TestRunRefusesFolders: what is broken beside the weights is named.
func TestRunRefusesFolders(t *testing.T) {
	larger := func() string {
		data, err := os.ReadFile(filepath.Join(storyteller, "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		var tok map[string]any
		if err := json.Unmarshal(data, &tok); err != nil {
			t.Fatal(err)
		}
		tok["added_tokens"] = append(tok["added_tokens"].([]any), map[string]any{
			"id": 4096, "content": "<more>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
		})
		if data, err = json.Marshal(tok); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range []struct {
		name, file, content string
		want                []string
	}{
		{"generation config", "generation_config.json", `{"temperature": "warm"}`, []string{"generation_config.json", "temperature: found \"warm\", expected a number", "correct the file or give --temp"}},
		{"tokenizer", "tokenizer.json", `{"model": `, []string{"tokenizer.json"}},
		{"tokenizer of a larger model", "tokenizer.json", larger(), []string{"tokenizer.json", "ids up to 4096", "vocab_size 4096"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyOf(t, storyteller)
			writeFile(t, filepath.Join(dir, c.file), c.content)
			smelt(t, "", runArgs(dir, "-p", "Once", "-n", "1")...).fails(t, append(c.want, dir)...)
		})
	}
}

// TestRunInterrupted: what was said stays said, and the status is a shell's
// for Ctrl-C.
func TestRunInterrupted(t *testing.T) {
	args := runArgs(storyteller, "-p", "Once upon a time", "--temp", "0")
	whole, _ := runText(t, "", append(args[1:], "-n", "20")...)

	ctx, cancel := context.WithCancel(t.Context())
	out := pieces{limit: 20, full: cancel}
	r := smeltWith(ctx, &out, args...)
	text := out.text
	if r.status != statusInterrupted || len(text) < 20 || len(text) > 40 || !strings.HasPrefix(whole, strings.TrimSuffix(text, "\n")) || !strings.HasSuffix(text, "\n") {
		t.Errorf("status %d, text %q, expected the beginning of %q", r.status, text, whole)
	}
	if !strings.Contains(r.errors, "stopped: interrupted\n") || strings.Contains(r.errors, "smelt:") {
		t.Errorf("standard error:\n%s", r.errors)
	}

	// In the prompt, at the third of its steps.
	var object bytes.Buffer
	long := strings.Repeat("Once upon a time ", 10)
	r = smeltWith(interruptAfter(t, 3), &object, runArgs(storyteller, "-p", long, "--chunk", "4", "--json")...)
	var report runReport
	decodeStrictly(t, object.String(), &report)
	if r.status != statusInterrupted || r.errors != "" || report.StopReason != "interrupted" || report.PromptTokens != 8 || len(report.Tokens) != 0 || report.Text != "" {
		t.Errorf("status %d, standard error %q, %+v", r.status, r.errors, report)
	}
}

func TestRunOutputFails(t *testing.T) {
	for _, args := range [][]string{nil, {"--echo"}, {"--json"}, {"--context", "2"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := smeltWith(t.Context(), fullDisk{}, runArgs(append([]string{storyteller, "-p", "Once", "-n", "3"}, args...)...)...)
			if r.status != 1 || r.errors != "smelt: disk full\n" {
				t.Errorf("status %d, standard error %q", r.status, r.errors)
			}
		})
	}
}

// TestRunInterruptedReading: Ctrl-C ends a run whose standard input never does.
func TestRunInterruptedReading(t *testing.T) {
	in, hold := io.Pipe()
	defer hold.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errors bytes.Buffer
	status := execute(ctx, runArgs(storyteller), stdio{in, &out, &errors})
	if status != statusInterrupted || out.Len() != 0 || errors.String() != "smelt: interrupted\n" {
		t.Errorf("status %d, output %q, standard error %q", status, &out, &errors)
	}
}

// TestDevices: nobody need name a device; what runs is said, and the processor's
// kernels tell the reference's story.
func TestDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: opens every device")
	}
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	args := []string{storyteller, "-p", "Once upon a time", "--temp", "0", "-n", "12", "--context", "128"}
	want, _ := runText(t, "", args...)
	got := smelt(t, "", append([]string{"run"}, args...)...)
	if got.status != 0 || got.out != want {
		t.Errorf("status %d, %q; the reference device says %q", got.status, got.out, want)
	}
	if !strings.HasPrefix(got.errors, "device cpu: ") || !strings.Contains(got.errors, "needs macOS on Apple silicon") || !strings.Contains(got.errors, "\ndevice cpu, ") {
		t.Errorf("standard error:\n%s", got.errors)
	}
	one, errors := runText(t, "", append(args, "--device", "cpu", "--threads", "1")...)
	if one != want || strings.HasPrefix(errors, "device cpu: ") {
		t.Errorf("one thread: %q, standard error:\n%s", one, errors)
	}
	t.Setenv(jit.Env, filepath.Join(t.TempDir(), "none.so"))
	without := smelt(t, "", append([]string{"run"}, args...)...)
	if without.status != 0 || without.out != want || !strings.HasPrefix(without.errors, "device reference: ") || !strings.Contains(without.errors, "none.so") {
		t.Errorf("without libLLVM: status %d, %q, standard error:\n%s", without.status, without.out, without.errors)
	}
	smelt(t, "", append([]string{"run", "--device", "cpu"}, args...)...).fails(t, "none.so", jit.Env)
	smelt(t, "", append([]string{"run", "--device", "cpu", "--threads", "-1"}, args...)...).fails(t, "--threads", "found \"-1\"")
}

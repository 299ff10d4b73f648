package smelt

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/runtime/sampling"
)

const (
	storyteller = "examples/storyteller/checkpoint"
	fixture     = "internal/models/deepseekv4/testdata/fixtures/b-official-fp8fp4" // without a tokenizer
)

func open(t *testing.T, path string, o Options) *Model {
	t.Helper()
	if o.Device == "" {
		o.Device = "reference"
	}
	m, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func generate(t *testing.T, m *Model, r Request) *Generation {
	t.Helper()
	g, err := m.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestSeveral: a text with companions, scored or not, is the text alone; its pieces,
// its tokens and its result agree.
func TestSeveral(t *testing.T) {
	how := &sampling.Params{Temperature: 0.9, TopK: 50, Seed: 8}
	requests := []Request{
		{Prompt: "Once upon a time", MaxTokens: 12, Sampling: how},
		{Prompt: "Tom and Lily", MaxTokens: 9, Sampling: how, LogProbs: true, Top: 2},
		{Prompt: "One day 🦊", MaxTokens: 7},
		{Tokens: []int32{0, 300, 301, 302, 303}, MaxTokens: 11, Sampling: &sampling.Params{}},
	}
	together := open(t, storyteller, Options{Slots: 3, Context: 64, Chunk: 4})
	var all []*Generation
	for _, r := range requests {
		all = append(all, generate(t, together, r))
	}
	for i, g := range all {
		got, err := g.Wait()
		if err != nil || got.Reason != StopLength && got.Reason != StopToken || got.PromptTime <= 0 || got.TextTime <= 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		var pieces strings.Builder
		for text, err := range g.Text() {
			if err != nil {
				t.Fatal(err)
			}
			pieces.WriteString(text)
		}
		var ids []int32
		for token, err := range g.Tokens() {
			if err != nil {
				t.Fatal(err)
			}
			if token.ID >= 0 {
				ids = append(ids, token.ID)
			}
			if scored := requests[i].LogProbs; scored != (len(token.Top) == 2) && token.ID >= 0 || scored && token.LogProb >= 0 {
				t.Errorf("request %d: %+v", i, token)
			}
		}
		if pieces.String() != got.Text || !slices.Equal(ids, got.Tokens) {
			t.Errorf("request %d: %q and %v, but %+v", i, pieces.String(), ids, got)
		}
		alone := open(t, storyteller, Options{Context: 64})
		again := requests[i]
		again.Sampling, again.LogProbs, again.Top = &got.Sampling, false, 0
		want, err := generate(t, alone, again).Wait()
		if err != nil || got.Text != want.Text || got.Reason != want.Reason || got.PromptTokens != want.PromptTokens {
			t.Errorf("request %d: %+v, alone %+v, %v", i, got, want, err)
		}
	}
}

// TestLogProbs: the model's own greedy text has the probabilities it was generated
// with.
func TestLogProbs(t *testing.T) {
	m := open(t, storyteller, Options{Context: 64})
	g := generate(t, m, Request{Prompt: "Once upon a time", MaxTokens: 8, Sampling: &sampling.Params{}, LogProbs: true, Top: 3})
	text, err := g.Wait()
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := m.Files().Encode(Request{Prompt: "Once upon a time"})
	if err != nil {
		t.Fatal(err)
	}
	scored, err := m.LogProbs(t.Context(), Request{Tokens: append(prompt, text.Tokens...)}, 3)
	if err != nil || len(scored) != len(prompt)+len(text.Tokens)-1 {
		t.Fatalf("%d tokens, %v", len(scored), err)
	}
	i := len(prompt) - 1
	for token, err := range g.Tokens() {
		s := scored[i]
		if err != nil || s.ID != token.ID || s.Text != token.Text || s.LogProb != token.LogProb || !slices.Equal(s.Top, token.Top) || s.Top[0].Token != token.ID {
			t.Errorf("token %d: generated as %+v, read as %+v, %v", i, token, s, err)
		}
		i++
	}
	sum := 0.0
	for _, p := range scored[0].Top {
		sum += math.Exp(p.LogProb)
	}
	if !(sum > 0 && sum <= 1) {
		t.Errorf("three probabilities sum up to %v", sum)
	}
}

// TestEnds: who stops a text gets what there is, with an error only if a context
// ended.
func TestEnds(t *testing.T) {
	m := open(t, storyteller, Options{Context: 512})
	endless := Request{Prompt: "Once", Sampling: &sampling.Params{Temperature: 1e6, Seed: 1}}
	g := generate(t, m, endless)
	for _, err := range g.Text() {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if r, err := g.Wait(); err != nil || r.Reason != StopCancelled || len(r.Tokens) == 0 {
		t.Errorf("left the loop: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g, err := m.Generate(ctx, endless)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range g.Text() {
		last = err
		cancel()
	}
	if r, err := g.Wait(); err != context.Canceled || last != err || r.Reason != StopCancelled || r.PromptTokens != 2 {
		t.Errorf("context ended: %+v, %v; the loop ended with %v", r, err, last)
	}
	small := open(t, storyteller, Options{Context: 3})
	if r, err := generate(t, small, endless).Wait(); err != nil || r.Reason != StopContext || len(r.Tokens) != 1 {
		t.Errorf("small context: %+v, %v", r, err)
	}
}

// TestErrors: what a program would tell apart has its variable or type.
func TestErrors(t *testing.T) {
	m := open(t, storyteller, Options{Context: 40, Queue: -1})
	bare := open(t, fixture, Options{})
	if o := m.Options(); o.Slots != 1 || o.Chunk != 128 || o.Context != 40 || m.Device() != "reference" {
		t.Errorf("%+v, device %s", o, m.Device())
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	option := func(names ...string) func(error) bool {
		return func(err error) bool {
			var e *OptionError
			return errors.As(err, &e) && slices.Equal(e.Names(), names)
		}
	}
	refused := func(m *Model, r Request) error {
		_, err := m.Generate(t.Context(), r)
		return err
	}
	opened := func(path string, o Options) error {
		_, err := Open(t.Context(), path, o)
		return err
	}
	chat := []Message{{Role: RoleUser, Content: "Hi"}}
	for name, c := range map[string]struct {
		err   error
		holds func(error) bool
	}{
		"no tokens":           {refused(m, Request{Tokens: []int32{}}), is(ErrEmptyPrompt)},
		"no text":             {refused(m, Request{NoBOS: true}), is(ErrEmptyPrompt)},
		"two prompts":         {refused(m, Request{Prompt: "a", Messages: chat}), func(err error) bool { return err != nil }},
		"tokens of no one":    {refused(m, Request{Tokens: []int32{4096}}), func(err error) bool { return err != nil && strings.Contains(err.Error(), "expected 0 to 4095") }},
		"roles":               {refused(m, Request{Messages: []Message{{Role: RoleAssistant}}}), func(err error) bool { return err != nil }},
		"too long":            {refused(m, Request{Tokens: make([]int32, 41)}), func(err error) bool { return errors.As(err, new(*ContextError)) }},
		"sampling":            {refused(m, Request{Prompt: "a", Sampling: &sampling.Params{TopP: 2}}), option("TopP")},
		"length":              {refused(m, Request{Prompt: "a", MaxTokens: -1}), option("MaxTokens")},
		"text, no tokenizer":  {refused(bare, Request{Prompt: "a"}), is(ErrNoTokenizer)},
		"chat, no tokenizer":  {refused(bare, Request{Messages: chat}), is(ErrNoTokenizer)},
		"context":             {opened(storyteller, Options{Context: 1 << 20}), option("Context")},
		"negative":            {opened(storyteller, Options{Slots: -1}), option("Slots")},
		"no such device":      {opened(storyteller, Options{Device: "abacus"}), func(err error) bool { return err != nil && strings.Contains(err.Error(), "reference") }},
		"no such folder":      {opened("nowhere", Options{}), func(err error) bool { return err != nil }},
		"device not here":     {opened(storyteller, Options{Device: "metal"}), func(err error) bool { return err == nil || errors.Is(err, ErrNotHere) }},
		"threads":             {opened(storyteller, Options{Threads: -1}), option("Threads")},
		"the flags' spelling": {refused(m, Request{Prompt: "a", Sampling: &sampling.Params{MinP: 2}}), func(err error) bool { return !strings.Contains(err.Error(), "--") }},
	} {
		if !c.holds(c.err) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	g := generate(t, m, Request{Prompt: "Once", Sampling: &sampling.Params{}})
	if err := refused(m, Request{Prompt: "a"}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second text at once: %v", err)
	}
	g.Stop()
	ids := generate(t, bare, Request{Tokens: []int32{1, 2}, MaxTokens: 3, Sampling: &sampling.Params{}})
	if r, err := ids.Wait(); err != nil || len(r.Tokens) != 3 || r.Text != "" {
		t.Errorf("without a tokenizer: %+v, %v", r, err)
	}
	for _, err := range ids.Text() {
		if !errors.Is(err, ErrNoTokenizer) {
			t.Errorf("text without a tokenizer: %v", err)
		}
	}
}

// TestMessage: an answer to messages comes taken apart, by tokens and not by spelling;
// calls only if tools are declared.
func TestMessage(t *testing.T) {
	m := open(t, storyteller, Options{Context: 64})
	question := []Message{{Role: RoleUser, Content: "Tell me about a cat."}}
	for _, think := range []bool{false, true} {
		r, err := generate(t, m, Request{Messages: question, Think: think, Effort: "high", MaxTokens: 6, Sampling: &sampling.Params{}}).Wait()
		if got := r.Message; err != nil || r.Markup != nil || r.Text == "" || got.Role != RoleAssistant || got.Content+got.Reasoning != r.Text || (got.Reasoning == "") == think {
			t.Errorf("think %v: %+v, %v", think, r, err)
		}
	}
	if r, err := generate(t, m, Request{Prompt: "Once", MaxTokens: 2}).Wait(); err != nil || r.Message.Role != "" {
		t.Errorf("a text is no message: %+v, %v", r.Message, err)
	}
	tok, err := m.Files().Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	calls := "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	ids, err := tok.Encode("hm</think>Yes." + calls)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := tok.EncodeOrdinary("</think>")
	if err != nil {
		t.Fatal(err)
	}
	ids = append(typed, ids...)
	for tools, want := range map[string]Message{
		"":   {Role: RoleAssistant, Reasoning: "</think>hm", Content: "Yes." + calls},
		"{}": {Role: RoleAssistant, Reasoning: "</think>hm", Content: "Yes.", ToolCalls: []chat.ToolCall{{Name: "f", Arguments: "{}"}}},
	} {
		r := Request{Messages: slices.Clone(question), Think: true}
		if tools != "" {
			r.Messages[0].Tools = []string{tools}
		}
		if got, err := m.Files().answer(r).parse(tok, ids, Result{}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("tools %q: %+v, %v", tools, got, err)
		}
	}
}

// TestConversation: a turn of a conversation reads only what is new in it, and has the answer
// that it has when all is read.
func TestConversation(t *testing.T) {
	m, anew := open(t, storyteller, Options{Context: 128}), open(t, storyteller, Options{Context: 128})
	messages := []Message{{Role: RoleSystem, Content: "Tell stories."}}
	had := 0
	for _, question := range []string{"Tell me about a cat.", "And then?", "Why?"} {
		messages = append(messages, Message{Role: RoleUser, Content: question})
		r := Request{Messages: messages, MaxTokens: 9, Sampling: &sampling.Params{}}
		got, err := generate(t, m, r).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if got.ReusedTokens != had || got.PromptTokens <= had {
			t.Errorf("%s: %d tokens, %d of them reused, expected %d", question, got.PromptTokens, got.ReusedTokens, had)
		}
		if _, err := anew.LogProbs(t.Context(), Request{Prompt: "Once"}, 0); err != nil { // takes the slot
			t.Fatal(err)
		}
		if want, err := generate(t, anew, r).Wait(); err != nil || want.ReusedTokens != 0 || !slices.Equal(got.Tokens, want.Tokens) {
			t.Errorf("%s: %q, read whole %q, %d reused, %v", question, got.Text, want.Text, want.ReusedTokens, err)
		}
		had = got.PromptTokens + len(got.Tokens)
		if got.Reason == StopLength {
			had-- // the last is not read
		}
		messages = append(messages, got.Message)
	}
}

// TestConversationDrawn: whatever tokens an answer was drawn with, as many of which no tokenizer
// would take for its text, the next turn goes on behind them.
func TestConversationDrawn(t *testing.T) {
	m := open(t, storyteller, Options{Context: 400})
	tok, err := m.Files().Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	var messages []Message
	had, odd, cut := 0, 0, 0
	for i := range 6 {
		messages = append(messages, Message{Role: RoleUser, Content: "And then?"})
		r, err := generate(t, m, Request{Messages: messages, MaxTokens: 10, Sampling: &sampling.Params{Temperature: 2, TopP: 1, Seed: uint64(i)}}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if r.ReusedTokens != had {
			t.Errorf("turn %d: %d tokens reused, expected %d; the answer before is %+v", i, r.ReusedTokens, had, messages[max(0, len(messages)-2)])
		}
		had = r.PromptTokens + len(r.Tokens)
		if r.Reason == StopLength {
			had--
		}
		if s := r.Message.Spellings; len(s) != 1 || !slices.Equal(s[0].Tokens, r.Tokens) {
			had = 0 // a control token, or half a character, is no part of the message
			cut++
		}
		if ids, err := tok.EncodeOrdinary(r.Message.Content); err != nil || !slices.Equal(ids, r.Tokens) {
			odd++
		}
		messages = append(messages, r.Message)
	}
	if odd == 0 || cut > 3 {
		t.Errorf("of 6 answers %d were not in the tokenizer's tokens, and %d not in those of a message", odd, cut)
	}
	// Tokens of another text, and special ones, count for nothing.
	question := []Message{{Role: RoleUser, Content: "Hi"}, {Role: RoleAssistant, Content: "Hi."}, {Role: RoleUser, Content: "Who?"}}
	want, err := m.Files().Encode(Request{Messages: question})
	if err != nil {
		t.Fatal(err)
	}
	end, _ := tok.TokenID("</think>")
	for _, s := range []chat.Spelling{{Text: "Hi.", Tokens: []int32{300}}, {Text: "</think>", Tokens: []int32{end}}, {Text: "Hi.", Tokens: []int32{-1}}} {
		question[1].Content, question[1].Spellings = "Hi.", []chat.Spelling{s}
		if got, err := m.Files().Encode(Request{Messages: question}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v, %v", s, got, err)
		}
	}
}

// TestClosed: closing ends what runs, and refuses what comes after.
func TestClosed(t *testing.T) {
	m, err := Open(t.Context(), storyteller, Options{Device: "reference", Context: 400})
	if err != nil {
		t.Fatal(err)
	}
	g := generate(t, m, Request{Prompt: "Once", Sampling: &sampling.Params{Temperature: 1e6}})
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("what ran ended with %v", err)
	}
	if _, err := m.Generate(t.Context(), Request{Tokens: []int32{1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("a request after closing: %v", err)
	}
}

// TestBundle: a bundle's sizes are the defaults and the limits.
func TestBundle(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles a bundle; package bundle has tests of that")
	}
	f, err := OpenFiles(fixture)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := bundle.Compile(f.Source(), bundle.Options{Context: 48, Chunk: 8, Slots: 2, Lean: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := b.Write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	gone := *b
	gone.Checkpoint = "nowhere"
	var lost *CheckpointError
	if _, err := OpenBundle(&gone); !errors.As(err, &lost) || lost.Bundle != dir {
		t.Errorf("without its checkpoint: %v", err)
	}
	m := open(t, dir, Options{})
	if o := m.Options(); o.Context != 48 || o.Chunk != 8 || o.Slots != 2 {
		t.Errorf("%+v", o)
	}
	for name, o := range map[string]Options{"Context": {Context: 49}, "Chunk": {Chunk: 9}, "Slots": {Slots: 3}, "CacheRAM": {CacheRAM: -2}} {
		var e *OptionError
		if _, err := m.Files().Complete(o); !errors.As(err, &e) || e.Names()[0] != name {
			t.Errorf("%+v: %v", o, err)
		}
	}
	request := Request{Tokens: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, MaxTokens: 6, Sampling: &sampling.Params{}}
	first, second := generate(t, m, request), generate(t, m, request)
	want, err := first.Wait()
	if got, e := second.Wait(); err != nil || e != nil || len(got.Tokens) != 6 || !slices.Equal(got.Tokens, want.Tokens) {
		t.Errorf("%+v, %v and %+v, %v", want, err, got, e)
	}
}

// TestCacheRAM: a model says how much it keeps of texts, whoever chose.
func TestCacheRAM(t *testing.T) {
	for asked, want := range map[int64]func(int64) bool{
		0:        func(n int64) bool { return n == 0 },
		64 << 20: func(n int64) bool { return n == 64<<20 },
		-1:       func(n int64) bool { return n > 0 && n <= 8<<30 },
	} {
		if n := open(t, storyteller, Options{Context: 40, CacheRAM: asked}).Options().CacheRAM; !want(n) {
			t.Errorf("asked for %d bytes, it has %d", asked, n)
		}
	}
	_, err := Open(t.Context(), storyteller, Options{Device: "reference", Context: 40, CacheRAM: 1 << 50})
	var memory *MemoryError
	var options *OptionError
	if !errors.As(err, &memory) || !errors.As(err, &options) || !slices.Contains(options.Names(), "CacheRAM") {
		t.Errorf("a million GB: %v", err)
	}
}

// TestMemoryError: what has no room is told by type, with the option that would help.
func TestMemoryError(t *testing.T) {
	_, err := Open(t.Context(), storyteller, Options{Device: "reference", Slots: 1 << 30, AllowPaging: true})
	var memory *MemoryError
	if !errors.As(err, &memory) || memory.Paging || memory.Need <= memory.Have || memory.Have <= 0 {
		t.Fatalf("a thousand million slots: %v", err)
	}
	var options *OptionError
	if !errors.As(err, &options) || !slices.Contains(options.Names(), "Slots") {
		t.Errorf("%v names no option", err)
	}
}

package smelt

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/runtime/sampling"
)

// TestStopStrings: a text ends before a string that lies across its tokens, in all ways
// to read it, and says which string it was.
func TestStopStrings(t *testing.T) {
	m := open(t, storyteller, Options{Context: 64})
	request := Request{Prompt: "Once upon a time", MaxTokens: 20, Sampling: &sampling.Params{}, StopStrings: []string{}}
	whole, err := generate(t, m, request).Wait()
	if err != nil || whole.Reason != StopLength || whole.StopString != "" {
		t.Fatalf("%+v, %v", whole, err)
	}
	for _, at := range sample.Short(t, []int{3, 7, 11, 15, 19, 23}, 2) {
		stop := whole.Text[at : at+5]
		r := request
		r.StopStrings = []string{"never", stop}
		want := whole.Text[:strings.Index(whole.Text, stop)]
		g := generate(t, m, r)
		streamed := ""
		for piece, err := range g.Text() {
			if err != nil {
				t.Fatal(err)
			}
			if streamed += piece; !strings.HasPrefix(want, streamed) {
				t.Fatalf("%q came, of %q", streamed, want)
			}
		}
		got, err := g.Wait()
		if err != nil || got.Text != want || streamed != want || got.Reason != StopString || got.StopString != stop || !slices.Equal(got.Tokens, whole.Tokens[:len(got.Tokens)]) || len(got.Tokens) == len(whole.Tokens) {
			t.Errorf("stop %q: %+v, streamed %q, %v; want %q", stop, got, streamed, err, want)
		}
	}
	r := request
	r.StopStrings = []string{"a", ""}
	if _, err := m.Generate(t.Context(), r); err == nil || !strings.Contains(err.Error(), "StopStrings: found \"\"") {
		t.Errorf("an empty string: %v", err)
	}
	r.StopStrings = []string{"a", "\xe2\x80"}
	if _, err := m.Generate(t.Context(), r); err == nil || !strings.Contains(err.Error(), `StopStrings: found "\xe2\x80", expected UTF-8`) {
		t.Errorf("half a character: %v", err)
	}
}

// TestStopBeforeHalf: where the token that completes a stop string begins a character
// behind it, nothing of that character is in the text.
func TestStopBeforeHalf(t *testing.T) {
	last := func(content map[string]any) { // the last merges make tokens of letters and the first byte of a character
		model := content["model"].(map[string]any)
		vocab, merges := model["vocab"].(map[string]any), model["merges"].([]any)
		for i, text := range []string{"Ġâ", "theâ"} {
			id := len(vocab) - 1 - i
			maps.DeleteFunc(vocab, func(_ string, v any) bool { return int(v.(float64)) == id })
			merges = merges[:len(merges)-1]
			vocab[text] = float64(id)
		}
		model["merges"] = append(merges, "Ġ â", "the â")
	}
	tok, err := opened(t, copied(t, storyteller, map[string]func(map[string]any){"tokenizer.json": last})).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ token, stop, text string }{
		{"Ġâ", " ", ""}, {"theâ", "the", ""}, {"theâ", "he", "t"}, {"theâ", "e", "th"}, {"theâ", "h", "t"}, {"theâ", "x", "the\ufffd"}, {"â", "x", "\ufffd"},
	} {
		id, ok := tok.TokenID(c.token)
		if !ok {
			t.Fatalf("no token %q", c.token)
		}
		d := newDecoder(tok, []string{c.stop})
		text, err := d.push(id)
		if text += d.flush(); err != nil || text != c.text {
			t.Errorf("token %q with stop %q: %q, %v; want %q", c.token, c.stop, text, err, c.text)
		}
	}
}

// TestStopMessage: a message ends where its text does.
func TestStopMessage(t *testing.T) {
	m := open(t, storyteller, Options{Context: 64})
	tok, err := m.Files().Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	const text = "It is late, he thought.</think>Good night, little cat."
	ids, err := tok.Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	a := m.Files().answer(Request{Messages: []Message{{Role: RoleUser, Content: "?"}}, Think: true})
	for _, stop := range []string{"t is", "late", "thought.", "</think>", "think>G", "ood ni", "cat", "cat."} {
		want, end := text[:strings.Index(text, stop)], endsAt(tok, []string{stop})
		n := slices.IndexFunc(ids, end) + 1
		got, err := a.parse(tok, ids[:n], Result{Text: want, StopString: stop})
		reasoning, content, _ := strings.Cut(want, "</think>")
		if cut, partly := strings.CutSuffix(reasoning, "</"); partly { // a control token goes as a whole
			reasoning = cut
		}
		if err != nil || got.Reasoning != reasoning || got.Content != content || got.Role != chat.RoleAssistant {
			t.Errorf("stop %q: %+v, %v; want %q and %q", stop, got, err, reasoning, content)
		}
	}
}

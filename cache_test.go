package smelt_test

import (
	"strings"
	"testing"

	"smelt.example/smelt"
	"smelt.example/smelt/runtime/sampling"
)

// TestCache: conversations with one system's message read it once, and a result says what was
// there and why no more.
func TestCache(t *testing.T) {
	m, err := smelt.Open(t.Context(), "examples/storyteller/checkpoint", smelt.Options{Device: "reference", Context: 128, CacheRAM: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	how := sampling.Greedy()
	ask := func(r smelt.Request) smelt.Result {
		t.Helper()
		r.MaxTokens, r.Sampling = 2, &how
		g, err := m.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		result, err := g.Wait()
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	messages := func(question string) []smelt.Message {
		return []smelt.Message{{Role: smelt.RoleSystem, Content: "Tell stories of foxes and of ravens, and of nothing else."}, {Role: smelt.RoleUser, Content: question}}
	}
	head := 0
	for i, question := range []string{"Why do they quarrel?", "Who wins?", "Who wins?"} {
		r := ask(smelt.Request{Messages: messages(question)})
		switch {
		case i == 0 && (r.ReusedTokens != 0 || r.Why != "nothing known begins like the prompt"):
			t.Errorf("%d tokens: %s", r.ReusedTokens, r.Why)
		case i == 1:
			if head = r.ReusedTokens; head < 10 || head > r.PromptTokens-4 || !strings.HasPrefix(r.Why, "the prompt differs at token ") || len(r.Known) == 0 || r.KnownAt < head {
				t.Errorf("%d of %d tokens: %s; %v", head, r.PromptTokens, r.Why, r.Known)
			}
		case i == 2 && r.ReusedTokens != r.PromptTokens-1:
			t.Errorf("%d of %d tokens: %s", r.ReusedTokens, r.PromptTokens, r.Why)
		}
	}
	if c := m.Cache(); c.HitsByKind()["head"] != 1 || c.HitsByKind()["prompt"] != 1 || c.EndsByReason()["differs"] != 1 || c.Bytes == 0 || c.Room != 64<<20 {
		t.Errorf("%+v", c)
	}
	tokens := []int32{0, 5, 6, 7, 8, 9, 10}
	ask(smelt.Request{Tokens: tokens, Head: 4})
	if r := ask(smelt.Request{Tokens: append(tokens[:4:4], 20, 21)}); r.ReusedTokens != 4 {
		t.Errorf("%d tokens: %s", r.ReusedTokens, r.Why)
	}
	for _, r := range []smelt.Request{{Tokens: tokens, Head: 8}, {Tokens: tokens, Head: -1}, {Prompt: "x", Head: 1}} {
		if _, err := m.Generate(t.Context(), r); err == nil || !strings.Contains(err.Error(), "a request has a Head of ") {
			t.Errorf("a head of %d: %v", r.Head, err)
		}
	}
}

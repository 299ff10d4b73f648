package server

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
)

// bothTexts asks for completions in one piece and as a stream; they have to be the same.
func (c *client) bothTexts(body string) (choices []any, usage any) {
	c.t.Helper()
	r := c.post("/v1/completions", body)
	if r.status != 200 {
		c.t.Fatalf("%d %s", r.status, r.body)
	}
	plain := r.object(c.t)
	choices, usage = plain["choices"].([]any), plain["usage"]
	list, done, _ := c.post("/v1/completions", with(body, `"stream":true,"stream_options":{"include_usage":true}`)).events(c.t)
	streamed := make([]any, len(choices))
	for i := range streamed {
		streamed[i] = map[string]any{"index": i, "text": "", "logprobs": nil}
	}
	for i, e := range list {
		if e.data["object"] != "text_completion" {
			c.t.Errorf("%v", e.data)
		}
		if i == len(list)-1 {
			equal(c.t, "usage", e.data["usage"], usage)
			continue
		}
		piece := at(e.data, "choices", 0).(map[string]any)
		whole := streamed[int(piece["index"].(float64))].(map[string]any)
		if whole["finish_reason"] != nil {
			c.t.Errorf("%v comes behind the end", piece)
		}
		whole["text"] = whole["text"].(string) + piece["text"].(string)
		whole["finish_reason"] = piece["finish_reason"]
		if more, ok := piece["logprobs"].(map[string]any); ok {
			all, _ := whole["logprobs"].(map[string]any)
			if all == nil {
				all = map[string]any{}
			}
			for k, v := range more {
				have, _ := all[k].([]any)
				all[k] = append(have, v.([]any)...)
			}
			whole["logprobs"] = all
		}
	}
	if !done {
		c.t.Error("no [DONE]")
	}
	equal(c.t, "stream against one piece of "+body, streamed, choices)
	return choices, usage
}

// TestCompletions: raw prompts in all their forms.
func TestCompletions(t *testing.T) {
	e := scripted(t, " upon a time"+eos)
	var got []engine.Request
	reply := e.Reply
	e.Reply = func(r engine.Request) []int32 { got = append(got, r); return reply(r) }
	c := serve(t, e, Options{})
	once, err := e.About.Tokenizer.Encode("Once")
	if err != nil || len(once) != 1 {
		t.Fatal(once, err)
	}
	for _, x := range []struct {
		body, text string
		prompts    [][]int32
		n          int
	}{
		{`{"prompt":"Once"}`, " upon a time", [][]int32{{0, once[0]}}, 1},
		{`{"prompt":"Once","echo":true}`, "Once upon a time", [][]int32{{0, once[0]}}, 1},
		{`{"prompt":["Once","Once"],"n":2}`, " upon a time", [][]int32{{0, once[0]}, {0, once[0]}, {0, once[0]}, {0, once[0]}}, 4},
		{`{"prompt":[5,6]}`, " upon a time", [][]int32{{5, 6}}, 1},
		{`{"prompt":[[5,6],[7]]}`, " upon a time", [][]int32{{5, 6}, {7}}, 2},
		{`{"prompt":"</think>","special":true}`, " upon a time", [][]int32{{0, 4094}}, 1},
		{`{"prompt":"Once","stop":" a"}`, " upon", [][]int32{{0, once[0]}}, 1},
		{`{"prompt":""}`, " upon a time", [][]int32{{0}}, 1},
	} {
		got = nil
		choices, usage := c.bothTexts(x.body)
		if len(choices) != x.n || at(choices, x.n-1, "text") != x.text || at(choices, 0, "finish_reason") != "stop" {
			t.Errorf("%s: %v", x.body, choices)
		}
		var sum int
		for i, p := range x.prompts {
			equal(t, x.body, got[i].Tokens, p)
			if x.n != 4 || i < 2 {
				sum += len(p)
			}
		}
		equal(t, "usage of "+x.body, at(usage, "prompt_tokens"), sum)
	}
	if ids := got[0].MaxTokens; ids != 16 {
		t.Errorf("%d tokens", ids)
	}
	c.badBodies("/v1/completions", []badBody{
		{`{}`, "found 0", "prompt"}, {`{"prompt":5}`, "expected a string", "prompt"}, {`{"prompt":[]}`, "found 0", "prompt"},
		{`{"prompt":[[]]}`, "empty", "prompt"}, {`{"prompt":[99999]}`, "expected 0 to", "prompt[0]"},
		{`{"prompt":"x","suffix":"y"}`, "leave it out", "suffix"}, {`{"prompt":"x","best_of":2}`, "expected n", "best_of"},
		{`{"prompt":"x","max_tokens":0}`, "1 or more", "max_tokens"}, {`{"prompt":"x","logprobs":21}`, "0 to 20", "logprobs"},
	})
	if r := c.post("/v1/completions", `{"prompt":[[5]],"prompt":["a"],"prompt":"b"}`); r.status != 200 || len(at(r.object(t), "choices").([]any)) != 1 {
		t.Errorf("a prompt that comes three times: %d %s", r.status, r.body)
	}
}

// TestCompletionScores: what lm-eval asks for: a text's own probabilities, and nothing
// generated.
func TestCompletionScores(t *testing.T) {
	e := scripted(t, " upon a time"+eos)
	c := serve(t, e, Options{})
	choices, usage := c.bothTexts(`{"prompt":"Once upon","max_tokens":0,"echo":true,"logprobs":1}`)
	l := at(choices, 0, "logprobs")
	equal(t, "tokens", at(l, "tokens"), []any{"<｜begin▁of▁sentence｜>", "Once", " upon"})
	equal(t, "probabilities", at(l, "token_logprobs"), []any{nil, -1, -1})
	equal(t, "offsets", at(l, "text_offset"), []any{0, 0, 4})
	equal(t, "others", at(l, "top_logprobs"), []any{nil, map[string]any{"Once": -1}, map[string]any{" upon": -1}})
	equal(t, "text", []any{at(choices, 0, "text"), at(choices, 0, "finish_reason"), at(usage, "completion_tokens"), at(usage, "prompt_tokens")}, []any{"Once upon", "length", 0, 3})
	choices, _ = c.bothTexts(`{"prompt":"Once","echo":true,"logprobs":0,"max_tokens":2}`)
	equal(t, "tokens", at(choices, 0, "logprobs", "tokens"), []any{"<｜begin▁of▁sentence｜>", "Once", " upon", " a"})
	equal(t, "offsets", at(choices, 0, "logprobs", "text_offset"), []any{0, 0, 4, 9})
}

// TestTokenize: people see the prompt that a request becomes, and its tokens.
func TestTokenize(t *testing.T) {
	e := scripted(t, "x")
	c := serve(t, e, Options{})
	r := c.post("/tokenize", with(hi, direct)).object(t)
	prompt := "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜></think>"
	equal(t, "prompt", at(r, "prompt"), prompt)
	for i, want := range []string{"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "</think>"} {
		if from, to := at(r, "special", i, 0).(float64), at(r, "special", i, 1).(float64); prompt[int(from):int(to)] != want {
			t.Errorf("special %d is %q", i, prompt[int(from):int(to)])
		}
	}
	ids := at(r, "tokens").([]any)
	equal(t, "count", at(r, "count"), len(ids))
	equal(t, "template", at(c.post("/apply-template", with(hi, direct)).object(t), "prompt"), prompt)
	equal(t, "begin", at(c.post("/tokenize/", `{"prompt":"Once"}`).object(t), "tokens", 0), 0)
	equal(t, "plain", len(at(c.post("/v1/tokenize", `{"content":"</think>"}`).object(t), "tokens").([]any)) > 1, true)
	equal(t, "special", at(c.post("/v1/tokenize", `{"content":"</think>","special":true}`).object(t), "tokens"), []any{4094})
	back := c.post("/detokenize", strings.Replace(`{"tokens":[0,X]}`, "X", "4094", 1)).object(t)
	equal(t, "text", at(back, "prompt"), "<｜begin▁of▁sentence｜></think>")
	c.badBodies("/detokenize", []badBody{{`{"tokens":[-1]}`, "expected 0 to", "tokens"}, {`{"tokens":"x"}`, "expected an array", "tokens"}})
	c.badBodies("/tokenize", []badBody{{`{}`, "found none", "messages"}, {`"x"`, "expected an object", ""}})
}

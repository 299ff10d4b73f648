package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
)

// oddly spells a text with a token for each character, as no tokenizer does and any model
// may; special tokens are special.
func oddly(t *testing.T, m *engine.Model, text string) (ids []int32) {
	t.Helper()
	all, err := m.Tokenizer.Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range all {
		if slices.Contains(m.Format.Controls(), m.Spell(id)) || m.Tokenizer.IsSpecial(id) {
			ids = append(ids, id)
			continue
		}
		for _, c := range m.Spell(id) {
			more, err := m.Tokenizer.EncodeOrdinary(string(c))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, more...)
		}
	}
	return ids
}

// forgetful makes of what a client got what many send back: without reasoning, and with
// arguments in other spaces.
func forgetful(items []any) (kept []any) {
	compact := func(m object) {
		text, ok := m["arguments"].(string)
		if !ok {
			return
		}
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			data, _ := json.Marshal(v)
			m["arguments"] = string(data)
		}
	}
	for _, x := range items {
		m := x.(object)
		if m["type"] == "reasoning" {
			continue
		}
		delete(m, "reasoning_content")
		compact(m)
		if calls, ok := m["tool_calls"].([]any); ok {
			for _, c := range calls {
				compact(at(c, "function").(object))
			}
		}
		if content, ok := m["content"].([]any); ok {
			m["content"] = slices.DeleteFunc(content, func(b any) bool { return at(b, "type") == "thinking" })
		}
		kept = append(kept, m)
	}
	return kept
}

// TestRecall: over each protocol, a turn that a client sends back without its reasoning and
// respelled has the tokens in the next prompt that the model wrote it with, by the server
// that wrote it and no other.
func TestRecall(t *testing.T) {
	for name, a := range agents() {
		t.Run(name, func(t *testing.T) {
			e := scripted(t, "")
			var prompts, replies [][]int32
			e.Reply = func(r engine.Request) []int32 {
				reply := []int32{e.End}
				if n := len(prompts); n < len(agentTurns) { // what spells a token would be one here
					reply = oddly(t, e.About, strings.Replace(agentTurns[n], "<｜User｜> ", "", 1))
				}
				prompts, replies = append(prompts, r.Tokens), append(replies, reply)
				return reply
			}
			take := a.take
			a.take = func(t *testing.T, r reply) (items []any, id, name, arguments, text string) {
				items, id, name, arguments, text = take(t, r)
				return forgetful(items), id, name, arguments, text
			}
			a.run(t, serve(t, e, Options{}))
			if len(prompts) != 3 {
				t.Fatalf("%d prompts", len(prompts))
			}
			for i, next := range prompts[1:] {
				if want := slices.Concat(prompts[i], replies[i]); len(next) < len(want) || !slices.Equal(next[:len(want)], want) {
					text, _ := e.About.Tokenizer.Decode(next)
					t.Errorf("prompt %d does not go on with the one before and its reply: %s", i+1, text)
				}
			}
			body, err := json.Marshal(a.body(a.history))
			if err != nil {
				t.Fatal(err)
			}
			serve(t, e, Options{}).post(a.path, string(body))
			if other := prompts[3]; slices.Equal(other, prompts[2]) {
				t.Error("a server that did not write the turns knows their tokens")
			}
		})
	}
}

// TestRecallStaysHere: what was written in one conversation is in no other, whatever ids that
// brings; and what stands in the tokens is what /tokenize shows.
func TestRecallStaysHere(t *testing.T) {
	e := scripted(t, "")
	secret := "the secret is amber"
	turn := secret + "</think>" + callStart + agentCall("tide", "harbour", "Brest") + callEnd + eos
	var prompts [][]int32
	e.Reply = func(r engine.Request) []int32 {
		prompts = append(prompts, r.Tokens)
		if len(prompts)%2 == 1 {
			return oddly(t, e.About, turn)
		}
		return []int32{e.End}
	}
	c := serve(t, e, Options{})
	body := func(question, id string) string {
		said := ""
		if id != "" {
			said = fmt.Sprintf(`,{"role":"assistant","tool_calls":[{"id":%q,"type":"function","function":{"name":"tide","arguments":"{\"harbour\":\"Brest\"}"}}]},{"role":"tool","tool_call_id":%q,"content":"4 m"}`, id, id)
		}
		return `{"messages":[{"role":"user","content":"` + question + `"}` + said + `],"tools":[` + tool + `]}`
	}
	shown := func(body string) string { return c.post("/tokenize", body).object(t)["prompt"].(string) }
	id := at(c.post("/v1/chat/completions", body("and the tide?", "")).object(t), "choices", 0, "message", "tool_calls", 0, "id").(string)
	here, elsewhere := body("and the tide?", id), body("what else?", id)
	if text := shown(here); !strings.Contains(text, secret+"</think>") || !strings.HasSuffix(text, "4 m</tool_result><｜Assistant｜><think>") {
		t.Errorf("in its own conversation: %s", text)
	}
	if text := shown(elsewhere); strings.Contains(text, "amber") || !strings.Contains(text, "Brest") {
		t.Errorf("in another: %s", text)
	}
	c.post("/v1/chat/completions", elsewhere)
	if text, _ := e.About.Tokenizer.Decode(prompts[1]); strings.Contains(text, "amber") {
		t.Errorf("another conversation is asked %s", text)
	}
	if text := shown(body("and the tide?", "call_of_nobody")); !strings.Contains(text, secret) {
		t.Errorf("with an id of nobody's: %s", text)
	}
}

// TestHead: the engine is told how much of a prompt other conversations begin with.
func TestHead(t *testing.T) {
	e := scripted(t, "hello"+eos)
	say := e.Reply
	var request engine.Request
	e.Reply = func(r engine.Request) []int32 {
		request = r
		return say(r)
	}
	c := serve(t, e, Options{})
	system := `{"role":"system","content":"Be brief."},`
	for body, want := range map[string]string{
		`{"messages":[` + system + `{"role":"user","content":"hi"}]}`:                                                                    "Be brief.",
		`{"messages":[` + system + `{"role":"user","content":"hi"},{"role":"assistant","content":"x"},{"role":"user","content":"so?"}]}`: "Be brief.",
		withTool: "</｜DSML｜",
		`{"messages":[{"role":"user","content":"hi"}]}`: "",
	} {
		if r := c.post("/v1/chat/completions", body); r.status != 200 {
			t.Fatal(r.body)
		}
		head, err := e.About.Tokenizer.Decode(request.Tokens[:request.Head])
		rest, more := e.About.Tokenizer.Decode(request.Tokens[request.Head:])
		if err != nil || more != nil || (head == "") != (want == "") || !strings.Contains(head, want) || want != "" && !strings.HasPrefix(rest, "<｜User｜>") || strings.Contains(head, "<｜User｜>") {
			t.Errorf("%s: head %q, then %q", body, head, rest)
		}
	}
}

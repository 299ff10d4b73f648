package server

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/script"
)

const (
	tool      = `{"type":"function","function":{"name":"tide","description":"","parameters":{"type":"object","properties":{"harbour":{"type":"string"},"hour":{"type":"integer"}},"required":["harbour"]}}}`
	withTool  = `{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[` + tool + `]}`
	callStart = "\n\n<｜DSML｜tool_calls>\n"
	oneCall   = "<｜DSML｜invoke name=\"tide\">\n<｜DSML｜parameter name=\"harbour\" string=\"true\">Brest</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
	callEnd   = "</｜DSML｜tool_calls>"
	eos       = "<｜end▁of▁sentence｜>"
)

// chatMessage is what a chat completion comes to, without its calls' ids.
type chatMessage struct {
	Content, Reasoning string
	Calls              [][2]string
	Finish             string
	Usage              any
}

// plainChat reads a choice of an answer in one piece.
func plainChat(t *testing.T, r reply, choice int) (m chatMessage) {
	t.Helper()
	body := r.object(t)
	c := at(body, "choices", choice)
	m.Content, _ = at(c, "message", "content").(string)
	m.Reasoning, _ = at(c, "message", "reasoning_content").(string)
	m.Finish, _ = at(c, "finish_reason").(string)
	m.Usage = at(body, "usage")
	for i := 0; at(c, "message", "tool_calls", i) != nil; i++ {
		x := at(c, "message", "tool_calls", i)
		if !strings.HasPrefix(at(x, "id").(string), "call_") || at(x, "type") != "function" {
			t.Errorf("call %v", x)
		}
		m.Calls = append(m.Calls, [2]string{at(x, "function", "name").(string), at(x, "function", "arguments").(string)})
	}
	return m
}

// streamedChat puts a choice of a stream together, and checks the order of its chunks.
func streamedChat(t *testing.T, r reply, choice int) (m chatMessage) {
	t.Helper()
	list, done, _ := r.events(t)
	if !done {
		t.Errorf("no [DONE] in %q", r.body)
	}
	ids, order, begun := map[any]bool{}, 0, false
	for i, e := range list {
		ids[at(e.data, "id")] = true
		if e.data["object"] != "chat.completion.chunk" {
			t.Errorf("chunk %d: %v", i, e.data)
		}
		if u := e.data["usage"]; u != nil {
			if i != len(list)-1 || len(e.data["choices"].([]any)) != 0 {
				t.Errorf("chunk %d of %d has the usage: %v", i, len(list), e.data)
			}
			m.Usage = u
			continue
		}
		c := at(e.data, "choices", 0)
		if int(at(c, "index").(float64)) != choice {
			continue
		}
		if m.Finish != "" {
			t.Errorf("%v comes behind the end", c)
		}
		if role := at(c, "delta", "role"); (role == "assistant") == begun {
			t.Errorf("chunk %d: role %v", i, role)
		}
		begun = true
		if f, ok := at(c, "finish_reason").(string); ok {
			m.Finish = f
			equal(t, "the last delta", at(c, "delta"), map[string]any{})
		}
		kind := m.add(t, at(c, "delta"))
		if kind != 0 && kind < order {
			t.Errorf("chunk %d goes back to part %d", i, kind)
		}
		order = max(order, kind)
	}
	if len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
	return m
}

// add continues a message; it returns which of its parts the delta is about.
func (m *chatMessage) add(t *testing.T, delta any) (kind int) {
	t.Helper()
	if text, _ := at(delta, "reasoning_content").(string); text != "" {
		m.Reasoning, kind = m.Reasoning+text, 1
	}
	if text, _ := at(delta, "content").(string); text != "" {
		m.Content, kind = m.Content+text, 2
	}
	if x := at(delta, "tool_calls", 0); x != nil {
		kind = 3
		i := int(at(x, "index").(float64))
		if name, ok := at(x, "function", "name").(string); ok {
			if i != len(m.Calls) || !strings.HasPrefix(at(x, "id").(string), "call_") {
				t.Errorf("call %v begins as number %d", x, len(m.Calls))
			}
			m.Calls = append(m.Calls, [2]string{name})
		} else if at(x, "id") != nil {
			t.Errorf("a second id: %v", x)
		}
		m.Calls[i][1] += at(x, "function", "arguments").(string)
	}
	return kind
}

// both asks for an answer in one piece and as a stream; they have to be the same.
func (c *client) both(body string, choice int) chatMessage {
	c.t.Helper()
	plain := c.post("/v1/chat/completions", body)
	if plain.status != 200 {
		c.t.Fatalf("%d %s", plain.status, plain.body)
	}
	p := plainChat(c.t, plain, choice)
	s := streamedChat(c.t, c.post("/v1/chat/completions", with(body, `"stream":true,"stream_options":{"include_usage":true}`)), choice)
	equal(c.t, "stream against one piece of "+body, s, p)
	return p
}

// sharedChat is a golden of a completion.
type sharedChat struct {
	Name, Mode, Completion, Reasoning, Content string
	StoppedBy                                  string                             `json:"stopped_by"`
	Finish                                     string                             `json:"finish_reason"`
	IDs                                        []int32                            `json:"storyteller_ids"`
	Calls                                      []struct{ Name, Arguments string } `json:"tool_calls"`
}

// want is the message that it becomes.
func (g sharedChat) want() (m chatMessage) {
	m = chatMessage{Content: g.Content, Reasoning: g.Reasoning, Finish: g.Finish}
	for _, x := range g.Calls {
		m.Calls = append(m.Calls, [2]string{x.Name, x.Arguments})
	}
	if m.Finish == "" { // those that are well formed end by themselves
		if m.Finish = "stop"; len(g.Calls) > 0 {
			m.Finish = "tool_calls"
		}
	}
	return m
}

// TestSharedChats: completions of the goldens become their messages, either way.
func TestSharedChats(t *testing.T) {
	var goldens struct{ Parse, Recover []sharedChat }
	script.Goldens(t, &goldens)
	e := scripted(t, "")
	c := serve(t, e, Options{})
	for _, g := range slices.Concat(goldens.Parse, goldens.Recover) {
		t.Run(g.Name, func(t *testing.T) {
			c.t = t
			ids, err := e.About.Tokenizer.Encode(g.Completion)
			if err != nil || g.IDs != nil && !slices.Equal(ids, g.IDs) {
				t.Fatalf("the completion is %v, %v; want %v", ids, err, g.IDs)
			}
			if g.StoppedBy == "eos" {
				ids = append(ids, e.End)
			}
			e.Reply = func(engine.Request) []int32 { return ids }
			mode := map[string]string{"chat": "disabled", "thinking": "enabled"}[g.Mode]
			m, want := c.both(with(withTool, `"thinking":{"type":"`+mode+`"}`), 0), g.want()
			want.Usage = m.Usage
			equal(t, "message", m, want)
		})
	}
}

// TestChat: parts of an answer, and how it ends.
func TestChat(t *testing.T) {
	for _, x := range []struct {
		name, completion, body string
		want                   chatMessage
	}{
		{"an answer", "Hello there." + eos, with(hi, `"thinking":{"type":"disabled"}`), chatMessage{Content: "Hello there.", Finish: "stop"}},
		{"reasoning", "I think.</think>Hello." + eos, hi, chatMessage{Content: "Hello.", Reasoning: "I think.", Finish: "stop"}},
		{"the limit", "Hello there.", with(hi, `"reasoning_effort":"none","max_tokens":1,"max_completion_tokens":2`), chatMessage{Content: "H", Finish: "length"}},
		{"a stop string", "One day END more" + eos, with(hi, `"thinking":{"type":"disabled"},"stop":[" END"]`), chatMessage{Content: "One day", Finish: "stop"}},
		{"not in reasoning", "One END</think>two END more" + eos, with(hi, `"stop":" END"`), chatMessage{Content: "two", Reasoning: "One END", Finish: "stop"}},
		{"the beginning of a stop string", "One EN" + eos, with(hi, `"reasoning_effort":"none","stop":" END"`), chatMessage{Content: "One EN", Finish: "stop"}},
		{"a call", "Let me see.</think>Well." + callStart + oneCall + callEnd + eos, withTool, chatMessage{Content: "Well.", Reasoning: "Let me see.", Calls: [][2]string{{"tide", `{"harbour": "Brest"}`}}, Finish: "tool_calls"}},
		{"two calls", "</think>" + callStart + oneCall + oneCall + callEnd + eos, withTool, chatMessage{Calls: [][2]string{{"tide", `{"harbour": "Brest"}`}, {"tide", `{"harbour": "Brest"}`}}, Finish: "tool_calls"}},
		{"one of two", "</think>" + callStart + oneCall + oneCall + callEnd + eos, with(withTool, `"parallel_tool_calls":false`), chatMessage{Calls: [][2]string{{"tide", `{"harbour": "Brest"}`}}, Finish: "tool_calls"}},
		{"a call that has to be", oneCall + callEnd + eos, with(withTool, `"tool_choice":"required"`), chatMessage{Calls: [][2]string{{"tide", `{"harbour": "Brest"}`}}, Finish: "tool_calls"}},
		{"no stop strings in calls", "</think>" + callStart + oneCall + callEnd + eos, with(withTool, `"stop":"Brest"`), chatMessage{Calls: [][2]string{{"tide", `{"harbour": "Brest"}`}}, Finish: "tool_calls"}},
		{"no tools, no calls", "</think>" + callStart + oneCall + callEnd + eos, hi, chatMessage{Content: callStart + oneCall + callEnd, Finish: "stop"}},
		{"the model runs on", "</think>Hello.<｜User｜>And?" + eos, hi, chatMessage{Content: "Hello.", Finish: "stop"}},
		{"a continued answer", " day." + eos, `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"One","prefix":true}]}`, chatMessage{Content: " day.", Finish: "stop"}},
		{"characters of several bytes", "</think>né 😀 é" + eos, hi, chatMessage{Content: "né 😀 é", Finish: "stop"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := serve(t, scripted(t, x.completion), Options{}).both(x.body, 0)
			if x.name == "the limit" {
				if m.Content == "" || !strings.HasPrefix("Hello there.", m.Content) || m.Content == "Hello there." {
					t.Errorf("content %q", m.Content)
				}
				x.want.Content = m.Content
				equal(t, "tokens", at(m.Usage, "completion_tokens"), 1)
			}
			x.want.Usage = m.Usage
			equal(t, "message", m, x.want)
		})
	}
}

// TestContentNull: an answer of calls alone has no content; others have one, if empty.
func TestContentNull(t *testing.T) {
	for completion, want := range map[string]string{"</think>" + callStart + oneCall + callEnd + eos: `"content":null`, "</think>" + eos: `"content":""`} {
		r := serve(t, scripted(t, completion), Options{}).post("/v1/chat/completions", withTool)
		if !strings.Contains(r.body, want) || strings.Contains(r.body, "reasoning_content") {
			t.Errorf("%q: %s has no %s", completion, r.body, want)
		}
	}
}

// TestUsage: tokens add up, and what was reused is what the engine says.
func TestUsage(t *testing.T) {
	e := scripted(t, "I think.</think>Hello."+eos)
	e.Cached = 2
	u := serve(t, e, Options{}).both(hi, 0).Usage
	n := func(path ...any) int { return int(at(u, path...).(float64)) }
	reasoning, _ := e.About.Tokenizer.Encode("I think.")
	answer, _ := e.About.Tokenizer.Encode("Hello.")
	if n("completion_tokens") != len(reasoning)+1+len(answer) || n("completion_tokens_details", "reasoning_tokens") != len(reasoning) {
		t.Errorf("%v for %d and %d tokens", u, len(reasoning), len(answer))
	}
	if n("total_tokens") != n("prompt_tokens")+n("completion_tokens") || n("prompt_tokens_details", "cached_tokens") != 2 || n("prompt_cache_hit_tokens") != 2 || n("prompt_cache_miss_tokens") != n("prompt_tokens")-2 {
		t.Errorf("%v", u)
	}
}

// TestChoices: each has a stream of random numbers of its own and comes whole.
func TestChoices(t *testing.T) {
	e := scripted(t, "")
	texts := map[uint64][]int32{}
	for i, text := range []string{"</think>One day." + eos, "</think>The end." + eos, "No"} {
		ids, err := e.About.Tokenizer.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		texts[uint64(i)] = ids
	}
	e.Reply = func(r engine.Request) []int32 { return texts[r.Stream] }
	c := serve(t, e, Options{})
	for i, want := range []chatMessage{{Content: "One day.", Finish: "stop"}, {Content: "The end.", Finish: "stop"}, {Reasoning: "No", Finish: "length"}} {
		m := c.both(with(hi, `"n":3`), i)
		want.Usage = m.Usage
		equal(t, "choice", m, want)
	}
}

// TestLogProbs: each token of content and reasoning has its own, no other has.
func TestLogProbs(t *testing.T) {
	e := scripted(t, "Hm.</think>Hello."+callStart+oneCall+callEnd+eos)
	c := serve(t, e, Options{})
	body := with(withTool, `"logprobs":true,"top_logprobs":2`)
	got := at(c.post("/v1/chat/completions", body).object(t), "choices", 0, "logprobs")
	for part, want := range map[string]string{"content": "Hello.", "reasoning_content": "Hm."} {
		text := ""
		for i := 0; at(got, part, i) != nil; i++ {
			p := at(got, part, i)
			text += at(p, "token").(string)
			if at(p, "logprob") != -1.0 || len(at(p, "top_logprobs").([]any)) != 2 || len(at(p, "bytes").([]any)) != len(at(p, "token").(string)) {
				t.Errorf("%v", p)
			}
		}
		if strings.TrimRight(text, "\n") != want { // a token may hold newlines that belong to the calls
			t.Errorf("%s: %q, want %q", part, text, want)
		}
	}
	streamed := map[string]any{"content": []any{}, "reasoning_content": []any{}}
	list, _, _ := c.post("/v1/chat/completions", with(body, `"stream":true`)).events(t)
	for _, e := range list {
		for part := range streamed {
			more, _ := at(e.data, "choices", 0, "logprobs", part).([]any)
			streamed[part] = append(streamed[part].([]any), more...)
		}
	}
	equal(t, "streamed", streamed, got)
	if r := c.post("/v1/chat/completions", withTool); at(r.object(t), "choices", 0, "logprobs") != nil {
		t.Errorf("nobody asked for those: %s", r.body)
	}
}

// TestWarnings: answers are held against schemas when they are there, and not before.
func TestWarnings(t *testing.T) {
	schema := `"response_format":{"type":"json_schema","json_schema":{"name":"r","schema":{"type":"object","required":["a"]}}},"thinking":{"type":"disabled"}`
	for _, x := range []struct{ completion, body, want string }{
		{`{"a": 1}`, with(hi, schema), ""},
		{`{"b": 1}`, with(hi, schema), "missing property 'a'"},
		{`Hello`, with(hi, schema), "no JSON"},
		{`[1`, with(hi, `"response_format":{"type":"json_object"},"thinking":{"type":"disabled"}`), "no JSON"},
		{`[1]`, with(hi, `"response_format":{"type":"json_object"},"thinking":{"type":"disabled"}`), ""},
		{strings.Replace(oneCall, "harbour", "port", 1) + callEnd, with(withTool, `"tool_choice":"required"`), "missing property 'harbour'"},
		{strings.Replace(oneCall, "tide", "tides", 1) + callEnd, with(withTool, `"tool_choice":"required"`), "none of the tools"},
		{oneCall + callEnd, with(strings.Replace(withTool, `"type":"object"`, `"type":"objekt"`, 1), `"tool_choice":"required"`), "arguments are not checked"},
		{callEnd, with(withTool, `"tool_choice":{"type":"function","function":{"name":"tide"}}`), "no tool was called"},
	} {
		c := serve(t, scripted(t, x.completion+eos), Options{})
		plain, _ := at(c.post("/v1/chat/completions", x.body).object(t), "smelt", "warnings", 0).(string)
		list, _, _ := c.post("/v1/chat/completions", with(x.body, `"stream":true`)).events(t)
		streamed, _ := at(list[len(list)-1].data, "smelt", "warnings", 0).(string)
		if plain != streamed || (plain == "") != (x.want == "") || !strings.Contains(plain, x.want) {
			t.Errorf("%q: %q and %q, want %q", x.completion, plain, streamed, x.want)
		}
	}
}

// TestNoChat: a model that was not made for chat continues texts, and says so of chats.
func TestNoChat(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	e.About.Format = nil
	c := serve(t, e, Options{})
	for path, body := range map[string]string{"/v1/chat/completions": hi, "/v1/messages": ask, "/v1/responses": codex, "/apply-template": hi} {
		if r := c.post(path, body); r.status != 400 || !strings.Contains(r.body, "not made for chat") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := c.post("/v1/completions", `{"prompt":"x"}`); at(r.object(t), "choices", 0, "text") != "Hello" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestNotes: what was done differently from what was asked is in a header.
func TestNotes(t *testing.T) {
	e := scripted(t, "</think>Hello"+eos)
	c := serve(t, e, Options{})
	for body, want := range map[string]string{
		hi: "", with(hi, `"reasoning_effort":"high"`): "",
		with(hi, `"reasoning_effort":"max"`):       "made for a context of 393216 tokens",
		with(withTool, `"tool_choice":"required"`): "thinking is off",
	} {
		r := c.post("/v1/chat/completions", body)
		if note := r.header.Get("Smelt-Note"); r.status != 200 || (note == "") != (want == "") || !strings.Contains(note, want) {
			t.Errorf("%s: %d %q, want %q", body, r.status, note, want)
		}
	}
	e.About.Context = 1 << 20
	if r := c.post("/v1/chat/completions", with(hi, `"reasoning_effort":"max"`)); r.status != 200 || r.header.Get("Smelt-Note") != "" {
		t.Errorf("%d %q", r.status, r.header.Get("Smelt-Note"))
	}
}

// TestStrictModel: a server may be strict about names.
func TestStrictModel(t *testing.T) {
	var o Options
	o.StrictModel = true
	c := serve(t, scripted(t, "Hello"+eos), o)
	for model, status := range map[string]int{`"storyteller"`: 200, `"gpt"`: 404, `null`: 200} {
		if r := c.post("/v1/chat/completions", strings.Replace(hi, `"m"`, model, 1)); r.status != status || status == 404 && at(r.object(t), "error", "code") != "model_not_found" {
			t.Errorf("%s: %d %s", model, r.status, r.body)
		}
	}
	if r := c.do("GET", "/v1/models/gpt", ""); r.status != 404 {
		t.Errorf("%d", r.status)
	}
}

// TestRequests: what a request says about picking tokens comes to the engine.
func TestRequests(t *testing.T) {
	e := scripted(t, "")
	var got engine.Request
	e.Reply = func(r engine.Request) []int32 { got = r; return []int32{e.End} }
	c := serve(t, e, Options{})
	c.post("/v1/chat/completions", with(hi, `"temperature":0.5,"top_p":0.9,"top_k":-1,"min_p":0.1,"seed":-1,"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.5,"max_tokens":9`))
	s := got.Sampling
	if got.MaxTokens != 9 || s.Temperature != 0.5 || s.TopP != 0.9 || s.TopK != 0 || s.MinP != 0.1 || s.Seed != 1<<64-1 || s.PresencePenalty != 1 || s.FrequencyPenalty != -1 || s.RepetitionPenalty != 1.5 {
		t.Errorf("%+v", got)
	}
	for path, body := range map[string]string{"/v1/chat/completions": hi, "/v1/completions": `{"prompt":"x"}`} {
		c.post(path, with(body, `"logit_bias":{"5":1.5,"0":-100,"7":0}`))
		if want := map[int32]float64{5: 1.5, 0: -100}; !maps.Equal(got.Sampling.Bias, want) {
			t.Errorf("%s: biases %v, expected %v", path, got.Sampling.Bias, want)
		}
	}
	c.post("/v1/chat/completions", hi)
	if s := got.Sampling; len(s.Bias) > 0 || s.Temperature != e.About.Suggested.Temperature || s.TopP != e.About.Suggested.TopP || got.MaxTokens != e.About.Context-len(got.Tokens) {
		t.Errorf("unsaid: %+v", got)
	}
	e.About.Suggested.Temperature, e.About.Suggested.TopP = 0, 0
	c.post("/v1/chat/completions", withTool)
	if s := got.Sampling; s.Temperature != 1 || s.TopP != 0.95 {
		t.Errorf("nothing suggested: %+v", got)
	}
}

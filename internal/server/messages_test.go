package server

import (
	"encoding/json"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
)

const (
	ask     = `{"model":"claude-x","max_tokens":200,"messages":[{"role":"user","content":"hi"}]}`
	askTool = `{"model":"claude-x","max_tokens":200,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"tide","input_schema":{"type":"object","required":["harbour"]}}]}`
)

// unsigned leaves out what is random of blocks: ids and signatures.
func unsigned(t *testing.T, content any) []any {
	t.Helper()
	list, _ := content.([]any)
	for _, b := range list {
		b := b.(map[string]any)
		switch b["type"] {
		case "thinking":
			if b["signature"] == "" {
				t.Errorf("no signature: %v", b)
			}
			delete(b, "signature")
		case "tool_use":
			if !strings.HasPrefix(b["id"].(string), "toolu_") {
				t.Errorf("id of %v", b)
			}
			delete(b, "id")
		}
	}
	return list
}

// streamedMessage puts a message together of its events, whose order it checks.
func streamedMessage(t *testing.T, r reply) map[string]any {
	t.Helper()
	list, done, _ := r.events(t)
	if done {
		t.Error("this protocol has no [DONE]")
	}
	var message map[string]any
	var blocks []any
	open, input, state := false, "", "start"
	for i, e := range list {
		if e.name != e.data["type"] {
			t.Errorf("event %q has type %v", e.name, e.data["type"])
		}
		if index, ok := e.data["index"].(float64); ok && int(index) != len(blocks)-1 && e.name != "content_block_start" {
			t.Errorf("event %d: %v, block %d is open", i, e.data, len(blocks)-1)
		}
		switch {
		case e.name == "message_start" && state == "start":
			message, state = e.data["message"].(map[string]any), "blocks"
			equal(t, "content at the start", message["content"], []any{})
		case e.name == "content_block_start" && state == "blocks" && !open:
			blocks, open, input = append(blocks, e.data["content_block"]), true, ""
		case e.name == "content_block_delta" && open:
			input = extend(t, blocks[len(blocks)-1].(map[string]any), e.data["delta"], input)
		case e.name == "content_block_stop" && open:
			open = false
		case e.name == "message_delta" && state == "blocks" && !open:
			state = "stop"
			for k, v := range e.data["delta"].(map[string]any) {
				message[k] = v
			}
			message["usage"] = e.data["usage"]
			if w := e.data["smelt"]; w != nil {
				message["smelt"] = w
			}
		case e.name == "message_stop" && state == "stop" && i == len(list)-1:
			message["content"] = blocks
			return message
		case e.name != "ping":
			t.Errorf("event %d, %s, comes in state %s", i, e.name, state)
		}
	}
	t.Errorf("no message_stop in %q", r.body)
	return message
}

// extend adds a delta to a block.
func extend(t *testing.T, block map[string]any, delta any, input string) string {
	t.Helper()
	for field, value := range delta.(map[string]any) {
		switch field {
		case "text", "thinking", "signature":
			block[field] = block[field].(string) + value.(string)
		case "partial_json":
			input += value.(string)
			var v any
			if json.Unmarshal([]byte(input), &v) != nil {
				v = input
			}
			block["input"] = v
		}
	}
	return input
}

// TestMessages: messages in one piece and as streams.
func TestMessages(t *testing.T) {
	thinking := func(text string) any { return map[string]any{"type": "thinking", "thinking": text} }
	text := func(text string) any { return map[string]any{"type": "text", "text": text} }
	call := map[string]any{"type": "tool_use", "name": "tide", "input": map[string]any{"harbour": "Brest"}}
	for _, x := range []struct {
		name, completion, body string
		content                []any
		reason                 string
		stop                   any
	}{
		{"an answer", "Hello." + eos, with(ask, `"thinking":{"type":"disabled"}`), []any{text("Hello.")}, "end_turn", nil},
		{"reasoning", "Hm.</think>Hello." + eos, ask, []any{thinking("Hm."), text("Hello.")}, "end_turn", nil},
		{"calls", "Hm.</think>Well." + callStart + oneCall + oneCall + callEnd + eos, askTool, []any{thinking("Hm."), text("Well."), call, call}, "tool_use", nil},
		{"one call", "</think>" + callStart + oneCall + oneCall + callEnd + eos, with(askTool, `"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`), []any{call}, "tool_use", nil},
		{"a call that has to be", oneCall + callEnd + eos, with(askTool, `"tool_choice":{"type":"any"}`), []any{call}, "tool_use", nil},
		{"a stop sequence", "</think>One END more" + eos, with(ask, `"stop_sequences":["END","more"]`), []any{text("One ")}, "stop_sequence", "END"},
		{"the limit", "Hm.", ask, []any{thinking("Hm.")}, "max_tokens", nil},
		{"nothing", eos, with(ask, `"thinking":{"type":"disabled"}`), []any{}, "end_turn", nil},
		{"a key twice", "</think>" + callStart + strings.Replace(oneCall, "</｜DSML｜invoke>", "<｜DSML｜parameter name=\"harbour\" string=\"true\">Douarnenez</｜DSML｜parameter>\n</｜DSML｜invoke>", 1) + callEnd + eos, askTool, []any{map[string]any{"type": "tool_use", "name": "tide", "input": map[string]any{"harbour": "Douarnenez"}}}, "tool_use", nil},
		{"a call cut off", callStart[2:] + strings.Split(oneCall, "est<")[0], with(askTool, `"thinking":{"type":"disabled"}`), []any{map[string]any{"type": "tool_use", "name": "tide", "input": `{"harbour": "Br`}}, "max_tokens", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			e := scripted(t, x.completion)
			e.Cached = 3
			c := serve(t, e, Options{})
			r := c.post("/v1/messages?beta=true", x.body)
			if r.status != 200 || r.header.Get("Request-Id") == "" {
				t.Fatalf("%d %s", r.status, r.body)
			}
			plain := r.object(t)
			streamed := streamedMessage(t, c.post("/v1/messages", with(x.body, stream)))
			for _, m := range []map[string]any{plain, streamed} {
				if !strings.HasPrefix(m["id"].(string), "msg_") {
					t.Errorf("id %v", m["id"])
				}
				delete(m, "id")
				m["content"] = unsigned(t, m["content"])
				if m["content"] == nil || len(m["content"].([]any)) == 0 {
					m["content"] = []any{}
				}
			}
			equal(t, "stream against one piece", streamed, plain)
			equal(t, "content", plain["content"], x.content)
			equal(t, "end", []any{plain["stop_reason"], plain["stop_sequence"], plain["model"], plain["type"], plain["role"]}, []any{x.reason, x.stop, "claude-x", "message", "assistant"})
			if at(plain, "usage", "cache_read_input_tokens") != 3.0 || at(plain, "usage", "input_tokens").(float64) < 1 {
				t.Errorf("usage %v", plain["usage"])
			}
		})
	}
}

// TestMessagePrompts: what blocks become.
func TestMessagePrompts(t *testing.T) {
	e := scripted(t, "x")
	var got []int32
	e.Reply = func(r engine.Request) []int32 { got = r.Tokens; return []int32{e.End} }
	c := serve(t, e, Options{})
	for _, x := range []struct{ members, want string }{
		{`"system":"s","messages":[{"role":"user","content":"a"}]`, "s<｜User｜>a<｜Assistant｜><think>"},
		{`"system":[{"type":"text","text":"x-anthropic-billing-header: cc=1;"},{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"u"}]`, "a\n\nb<｜User｜>u<｜Assistant｜><think>"},
		{`"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64"}},{"type":"document","source":{"type":"text"}}]}]`, "<｜User｜>a\n\n[Unsupported Image]\n\n[Unsupported document type: text]<｜Assistant｜><think>"},
		{`"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"thinking":{"type":"disabled"}`, "<｜User｜>a<｜Assistant｜></think>b"},
		{`"messages":[{"role":"user","content":"a"},{"role":"system","content":"r"},{"role":"user","content":"b"}],"thinking":{"type":"disabled"}`, "<｜User｜>a\n\n<system-reminder>\nr\n</system-reminder>\n\nb<｜Assistant｜></think>"},
		{`"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"p","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"thinking","thinking":"q"},{"type":"text","text":"t"},{"type":"tool_use","id":"1","name":"f","input":{"k":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","is_error":true,"content":[{"type":"text","text":"r"}]},{"type":"text","text":"go on"}]}]`,
			"<｜User｜>a<｜Assistant｜><think>p\n\nq</think>t" + callStart + "<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"k\" string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke>\n" + callEnd + eos + "<｜User｜><tool_result>r</tool_result>\n\ngo on<｜Assistant｜><think>"},
	} {
		// With the reasoning of one turn only, what follows the last question is kept.
		r := c.post("/v1/messages", `{"max_tokens":5,`+x.members+`}`)
		text, err := e.About.Tokenizer.Decode(got)
		if want := "<｜begin▁of▁sentence｜>" + x.want; r.status != 200 || err != nil || strings.Replace(text, "<｜Assistant｜></think>t", "<｜Assistant｜><think>p\n\nq</think>t", 1) != want {
			t.Errorf("%s: %d %v\n  got  %q\n  want %q", x.members, r.status, err, text, want)
		}
		count := c.post("/v1/messages/count_tokens/?beta=true", `{`+x.members+`}`).object(t)
		equal(t, "count", at(count, "input_tokens"), len(got))
	}
}

// TestMessageErrors: errors in this protocol's form.
func TestMessageErrors(t *testing.T) {
	e := scripted(t, "x")
	c := serve(t, e, Options{})
	check := func(r reply, status int, kind, text string) {
		t.Helper()
		v := r.object(t)
		message, _ := at(v, "error", "message").(string)
		if r.status != status || v["type"] != "error" || at(v, "error", "type") != kind || !strings.Contains(message, text) || v["request_id"] != r.header.Get("Request-Id") {
			t.Errorf("%d %s; want %d %s %q", r.status, r.body, status, kind, text)
		}
	}
	check(c.post("/v1/messages", `{"messages":[]}`), 400, "invalid_request_error", "max_tokens: found none")
	check(c.post("/v1/messages", `{"max_tokens":1,"messages":[{"role":"tool","content":"x"}]}`), 400, "invalid_request_error", "messages[0].role")
	check(c.post("/v1/messages", with(ask, `"tool_choice":{"type":"some"}`)), 400, "invalid_request_error", "tool_choice.type")
	check(c.do("GET", "/v1/messages", ""), 405, "invalid_request_error", "POST")
	check(c.post("/v1/messages/batches", ask), 404, "not_found_error", "no path")
	check(serve(t, e, Options{Keys: []string{"k"}}).post("/v1/messages", ask), 401, "authentication_error", "key")
	check(serve(t, e, Options{Options: limits(5)}).post("/v1/messages", ask), 413, "request_too_large", "limit")
	check(serve(t, nil, Options{}).post("/v1/messages", ask), 529, "overloaded_error", "loading")
	e.About.Context = 4
	check(c.post("/v1/messages", strings.Replace(ask, `"hi"`, `"one two three four"`, 1)), 400, "invalid_request_error", "prompt is too long: ")
}

// TestMessageFields: they name the field as this protocol has it.
func TestMessageFields(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{})
	const request = `{"max_tokens":9,"messages":[{"role":"user","content":"x"}]}`
	for members, want := range map[string]string{
		`"output_config":{"effort":"huge"}`:           "output_config.effort: found effort",
		`"tools":[{"name":"f","input_schema":"{}"}]`:  "tools[0].input_schema: found a string, expected an object",
		`"tools":[{"name":"f","input_schema":[]}]`:    "tools[0].input_schema: found an array, expected an object",
		`"thinking":{"type":"on"}`:                    "thinking.type: found",
		`"system":[{"type":"text","text":["a"]}]`:     "system[0].text: found an array, expected a string",
		`"messages":[{"role":"user","content":[5]}]`:  "messages[0].content[0]: found a number, expected an object",
		`"stop_sequences":"x"`:                        "stop_sequences: found a string, expected an array",
		`"tool_choice":{"type":"tool","name":"none"}`: "tool_choice: found the function",
	} {
		r := c.post("/v1/messages", with(request, members))
		if message, _ := at(r.object(t), "error", "message").(string); r.status != 400 || !strings.HasPrefix(message, want) {
			t.Errorf("%s: %d %q, want %q", members, r.status, message, want)
		}
	}
}

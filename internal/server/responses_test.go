package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
)

const (
	codex     = `{"model":"gpt-x","instructions":"s","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}],"store":false,"client_metadata":{"a":1}}`
	codexTool = "\"tools\":[\n" + `{"type":"function","name":"tide","x":1,"x":2,"strict":false,"parameters":{"type":"object"}},{"type":"web_search"},{"type":"custom","name":"apply_patch","description":"d","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},{"type":"namespace","name":"sea","tools":[{"type":"function","name":"wind","parameters":{}}]}]`
)

// stable leaves out what is random.
func stable(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if text, ok := x.(string); (k == "id" || k == "call_id" || k == "item_id") && ok {
				prefix, _, _ := strings.Cut(text, "_")
				v[k] = prefix
			} else if k == "created_at" {
				v[k] = 0
			} else {
				v[k] = stable(t, x)
			}
		}
	case []any:
		for i := range v {
			v[i] = stable(t, v[i])
		}
	}
	return v
}

// streamedResponse is the response that a stream ends with. Its items have to be those
// that the events before make, and the events have to be numbered and in order.
func streamedResponse(t *testing.T, r reply) map[string]any {
	t.Helper()
	list, done, _ := r.events(t)
	if done {
		t.Error("this protocol has no [DONE]")
	}
	var items []any
	var text string
	var names []string
	for i, e := range list {
		if e.name != e.data["type"] || e.data["sequence_number"] != float64(i) {
			t.Errorf("event %d is %s: %v", i, e.name, e.data)
		}
		if index, ok := e.data["output_index"].(float64); ok && int(index) != len(items)-1 && e.name != "response.output_item.added" {
			t.Errorf("event %d: %v, item %d is open", i, e.data, len(items)-1)
		}
		if len(items) > 0 && e.data["item_id"] != nil && e.data["item_id"] != at(items[len(items)-1], "id") {
			t.Errorf("event %d is of another item: %v", i, e.data)
		}
		name := strings.TrimPrefix(e.name, "response.")
		switch name {
		case "output_item.added":
			items, text = append(items, e.data["item"]), ""
			equal(t, "status", at(e.data, "item", "status"), "in_progress")
		case "output_item.done":
			items[len(items)-1] = e.data["item"]
		case "output_text.done", "reasoning_text.done":
			equal(t, e.name, e.data["text"], text)
		case "function_call_arguments.done":
			equal(t, e.name, e.data["arguments"], text)
		case "custom_tool_call_input.done":
			equal(t, e.name, e.data["input"], text)
		default:
			if d, ok := e.data["delta"].(string); ok {
				if text += d; d == "" {
					t.Errorf("event %d is an empty delta", i)
				}
			}
		}
		if !strings.HasSuffix(name, ".delta") {
			names = append(names, name)
		}
	}
	last := list[len(list)-1].data
	equal(t, "items", at(last, "response", "output"), append([]any{}, items...))
	if names[0] != "created" || names[1] != "in_progress" || names[len(names)-1] != at(last, "response", "status") {
		t.Errorf("events %v", names)
	}
	return last["response"].(map[string]any)
}

// TestResponses: responses in one piece and as streams.
func TestResponses(t *testing.T) {
	patch := "<｜DSML｜invoke name=\"apply_patch\">\n<｜DSML｜parameter name=\"input\" string=\"true\">*** \"Begin\"</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
	wind := "<｜DSML｜invoke name=\"wind\">\n\n</｜DSML｜invoke>\n"
	text := func(text string) any {
		return map[string]any{"id": "msg", "type": "message", "role": "assistant", "status": "completed", "content": []any{map[string]any{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}}}
	}
	reasoning := func(text, status string) map[string]any {
		return map[string]any{"id": "rs", "type": "reasoning", "status": status, "summary": []any{}, "content": []any{map[string]any{"type": "reasoning_text", "text": text}}}
	}
	call := map[string]any{"id": "fc", "call_id": "call", "type": "function_call", "status": "completed", "name": "tide", "arguments": `{"harbour": "Brest"}`}
	for _, x := range []struct {
		name, completion, body, status string
		output                         []any
	}{
		{"an answer", "Hello." + eos, with(codex, `"reasoning":{"effort":"none"}`), "completed", []any{text("Hello.")}},
		{"reasoning", "Hm.</think>Hello." + eos, codex, "completed", []any{reasoning("Hm.", "completed"), text("Hello.")}},
		{"calls", "Hm.</think>Well." + callStart + oneCall + wind + callEnd + eos, with(codex, codexTool), "completed", []any{reasoning("Hm.", "completed"), text("Well."), call,
			map[string]any{"id": "fc", "call_id": "call", "type": "function_call", "status": "completed", "name": "wind", "namespace": "sea", "arguments": `{}`}}},
		{"a patch", "</think>" + callStart + patch + callEnd + eos, with(codex, codexTool), "completed", []any{
			map[string]any{"id": "ctc", "call_id": "call", "type": "custom_tool_call", "status": "completed", "name": "apply_patch", "input": `*** "Begin"`}}},
		{"one call", "</think>" + callStart + oneCall + oneCall + callEnd + eos, with(with(codex, codexTool), `"parallel_tool_calls":false`), "completed", []any{call}},
		{"a call that has to be", oneCall + callEnd + eos, with(with(codex, codexTool), `"tool_choice":{"type":"function","name":"tide"}`), "completed", []any{call}},
		{"the limit", "Hm.", codex, "incomplete", []any{reasoning("Hm.", "incomplete")}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := serve(t, scripted(t, x.completion), Options{})
			r := c.post("/v1/responses", x.body)
			if r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			plain := stable(t, r.object(t)).(map[string]any)
			equal(t, "stream against one piece", stable(t, streamedResponse(t, c.post("/v1/responses", with(x.body, stream)))), plain)
			for _, item := range plain["output"].([]any) {
				if item := item.(map[string]any); item["type"] == "reasoning" && !strings.HasPrefix(item["encrypted_content"].(string), "smelt1.") {
					t.Errorf("%v", item)
				}
				delete(item.(map[string]any), "encrypted_content")
			}
			equal(t, "output", plain["output"], x.output)
			equal(t, "response", []any{plain["status"], plain["object"], plain["model"], plain["instructions"], plain["error"]}, []any{x.status, "response", "gpt-x", "s", nil})
			if u := plain["usage"]; at(u, "total_tokens").(float64) != at(u, "input_tokens").(float64)+at(u, "output_tokens").(float64) {
				t.Errorf("%v", u)
			}
			if x.status == "incomplete" {
				equal(t, "details", plain["incomplete_details"], map[string]any{"reason": "max_output_tokens"})
			}
		})
	}
}

// TestResponsePrompts: what items become, and that sealed reasoning comes back.
func TestResponsePrompts(t *testing.T) {
	e := scripted(t, "Secret thoughts.</think>"+callStart+oneCall+callEnd+eos)
	var got []int32
	reply := e.Reply
	e.Reply = func(r engine.Request) []int32 { got = r.Tokens; return reply(r) }
	c := serve(t, e, Options{})
	first := c.post("/v1/responses", with(codex, codexTool)).object(t)
	if sealed := at(first, "output", 0, "encrypted_content").(string); strings.Contains(sealed, "Secret") {
		t.Errorf("%q", sealed)
	}
	at(first, "output", 0).(map[string]any)["content"] = nil // as one client sends it back
	items, err := json.Marshal([]any{
		map[string]any{"role": "developer", "content": "d"}, map[string]any{"role": "user", "content": "hi"}, at(first, "output", 0), at(first, "output", 1),
		map[string]any{"type": "function_call_output", "call_id": at(first, "output", 1, "call_id"), "output": []any{map[string]any{"type": "input_text", "text": "4 m"}}},
		map[string]any{"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x\"y"},
		map[string]any{"type": "custom_tool_call_output", "call_id": "c", "output": "done"}, map[string]any{"type": "web_search_call"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.post("/v1/responses", `{"input":`+string(items)+`,`+codexTool+`}`)
	text, err := e.About.Tokenizer.Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	_, tail, _ := strings.Cut(text, "<｜User｜>")
	want := "hi<｜Assistant｜><think>Secret thoughts.</think>" + callStart + oneCall + callEnd + eos + "<｜User｜><tool_result>4 m</tool_result><｜Assistant｜><think></think>" +
		callStart + "<｜DSML｜invoke name=\"apply_patch\">\n<｜DSML｜parameter name=\"input\" string=\"true\">x\"y</｜DSML｜parameter>\n</｜DSML｜invoke>\n" + callEnd + eos + "<｜User｜><tool_result>done</tool_result><｜Assistant｜><think>"
	if tail != want {
		t.Errorf("\n  got  %q\n  want %q", tail, want)
	}
	for _, part := range []string{`"name": "tide"`, `"name": "apply_patch", "description": "d\n\nThe input follows this grammar (lark):\nstart: x"`, `"name": "wind"`} {
		if !strings.Contains(text, part) {
			t.Errorf("the prompt has no %s", part)
		}
	}
}

// TestResponseErrors: what is not stored here is refused, and so is what makes no sense.
func TestResponseErrors(t *testing.T) {
	c := serve(t, scripted(t, "x"), Options{})
	c.badBodies("/v1/responses", []badBody{
		{`{}`, "found none", "input"}, {`{"input":5}`, "expected an array", "input"}, {`{"input":[{"role":"system","content":""}]}`, "found empty system messages only", "input"}, {`{"input":[{"role":"tool"}]}`, "expected system", "input[0].role"},
		{`{"input":"x","previous_response_id":"resp_1"}`, "not stored here; send the full input", "previous_response_id"},
		{`{"input":"x","conversation":{"id":"c"}}`, "not stored here", "conversation"}, {`{"input":"x","background":true}`, "nothing is stored", "background"},
		{`{"input":[{"type":"item_reference","id":"x"}]}`, "send the full input", "input[0]"},
		{`{"input":"x","tool_choice":{"type":"allowed_tools"}}`, "expected none", "tool_choice"},
		{`{"input":"x","tools":[5]}`, "found a number, expected an object", "tools[0]"},
		{`{"input":"x","tools":[{"type":5}]}`, "found a number, expected a string", "tools[0].type"},
		{`{"input":"x","tools":[{"type":"namespace","tools":[{"type":"function","name":"f","parameters":[]}]}]}`, "found an array, expected an object", "tools[0].tools[0].parameters"},
		{`{"input":"x","text":{"format":{"type":"json_schema","schema":null}}}`, "found none", "text.format.schema"},
		{`{"input":"x","text":{"format":{"type":"json_schema","schema":{"type":5}}}}`, "expected a JSON schema", "text.format.schema"},
		{`{"input":"x","reasoning":{"effort":"huge"}}`, "expected minimal", "reasoning.effort"},
		{`{"input":"x","text":{"format":{"type":"json_schema"}}}`, "found none", "text.format.schema"},
		{`{"input":"x","max_output_tokens":0}`, "1 or more", "max_output_tokens"},
	})
}

// TestResponseLogProbs: the answer's tokens have theirs.
func TestResponseLogProbs(t *testing.T) {
	c := serve(t, scripted(t, "</think>Hello there"+eos), Options{})
	body := `{"input":"hi","top_logprobs":1}`
	plain := stable(t, c.post("/v1/responses", body).object(t)).(map[string]any)
	text := ""
	for i := 0; at(plain, "output", 0, "content", 0, "logprobs", i) != nil; i++ {
		text += at(plain, "output", 0, "content", 0, "logprobs", i, "token").(string)
	}
	equal(t, "tokens", text, "Hello there")
	equal(t, "stream", stable(t, streamedResponse(t, c.post("/v1/responses", with(body, stream)))), plain)
}

// TestOneTurn: items of one turn of the assistant are one message, whatever is empty among
// them, and as many as a body may have take no time by their square.
func TestOneTurn(t *testing.T) {
	c := serve(t, scripted(t, "Hello"+eos), Options{Options: api.Options{LogPrompts: true}})
	prompt := func(items string) string {
		t.Helper()
		var log bytes.Buffer
		c.server.options.Log = slog.New(slog.NewJSONHandler(&log, nil))
		if r := c.post("/v1/responses", `{"input":[`+items+`]}`); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		var line struct{ Prompt string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		return line.Prompt
	}
	const user, more = `{"role":"user","content":"u"}`, `{"role":"user","content":"v"}`
	got := prompt(user + `,{"role":"assistant","content":""},{"type":"reasoning","summary":[]},{"role":"assistant","content":"a"},{"role":"assistant","content":""},{"role":"assistant","content":"b"},` + more + `,{"role":"assistant","content":"c"}`)
	if want := "u<｜Assistant｜></think>a\n\nb" + eos + "<｜User｜>v<｜Assistant｜><think></think>c" + eos; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r := c.post("/v1/responses", `{"input":[`+strings.Repeat(`{"role":"assistant","content":"`+strings.Repeat("x", 100)+`"},`, 20_000)+user+`]}`); r.status != 400 || !strings.Contains(r.body, "context_length_exceeded") {
		t.Errorf("%d %.200s", r.status, r.body)
	}
}

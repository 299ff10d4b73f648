package server

import (
	"encoding/json"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/script"
)

// The agent's model first asks for the tide, then for the wind, then answers.
var agentTurns = []string{
	"I need the tide.</think>Let me look." + callStart + agentCall("tide", "harbour", "Brest") + callEnd + eos,
	"And the wind.</think>" + callStart + agentCall("wind", "place", "<｜User｜> \"Ouessant\" & <x>") + callEnd + eos,
	"Both are known.</think>4 m and calm." + eos,
}

func agentCall(tool, key, value string) string {
	return "<｜DSML｜invoke name=\"" + tool + "\">\n<｜DSML｜parameter name=\"" + key + "\" string=\"true\">" + value + "</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
}

// agentEngine replays the turns. The second call's argument spells a special token that
// is plain text.
func agentEngine(t *testing.T) (e *script.Engine, prompts *[]string) {
	t.Helper()
	e, prompts = scripted(t, ""), new([]string)
	e.Reply = func(r engine.Request) []int32 {
		text, err := e.About.Tokenizer.Decode(r.Tokens)
		if err != nil {
			t.Error(err)
		}
		turn := len(*prompts)
		*prompts = append(*prompts, text)
		var ids []int32
		for i, piece := range strings.SplitAfter(agentTurns[turn], "\"place\" string=\"true\">") {
			encode := e.About.Tokenizer.Encode
			if i == 1 {
				rest := ""
				piece, rest, _ = strings.Cut(piece, "</｜DSML｜parameter>")
				plain, err := e.About.Tokenizer.EncodeOrdinary(piece)
				if err != nil {
					t.Error(err)
				}
				ids, piece = append(ids, plain...), "</｜DSML｜parameter>"+rest
			}
			more, err := encode(piece)
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, more...)
		}
		return ids
	}
	return e, prompts
}

// agent is a client of one protocol: it asks, keeps what it got, and adds a result.
type agent struct {
	path string
	// body is the request; ask reads an answer, appends it to the history, and returns the
	// call's name and arguments, or the text of an answer without calls.
	history []any
	body    func(history []any) any
	take    func(t *testing.T, r reply) (items []any, id, name, arguments, text string)
	result  func(id, text string) any
}

// run has the conversation until there is no call.
func (a *agent) run(t *testing.T, c *client) (calls []string, answer string) {
	t.Helper()
	results := map[string]string{"tide": "4 m", "wind": "calm"}
	for range 4 {
		body, err := json.Marshal(a.body(a.history))
		if err != nil {
			t.Fatal(err)
		}
		items, id, name, arguments, text := a.take(t, c.post(a.path, string(body)))
		if name == "" {
			return calls, text
		}
		calls = append(calls, name+arguments)
		a.history = append(append(a.history, items...), a.result(id, results[name]))
	}
	t.Fatalf("no end: %v", calls)
	return nil, ""
}

type object = map[string]any

func functions(wrap func(name string) any) []any { return []any{wrap("tide"), wrap("wind")} }

// agents are the protocols.
func agents() map[string]*agent {
	return map[string]*agent{
		"chat": {
			path: "/v1/chat/completions",
			body: func(h []any) any {
				return object{"model": "m", "messages": h, "tools": functions(func(n string) any {
					return object{"type": "function", "function": object{"name": n, "parameters": object{"type": "object"}}}
				})}
			},
			history: []any{object{"role": "user", "content": "tide and wind?"}},
			take: func(t *testing.T, r reply) (items []any, id, name, arguments, text string) {
				m := at(r.object(t), "choices", 0, "message")
				text, _ = at(m, "content").(string)
				if x := at(m, "tool_calls", 0); x != nil {
					id, name, arguments = at(x, "id").(string), at(x, "function", "name").(string), at(x, "function", "arguments").(string)
				}
				return []any{m}, id, name, arguments, text
			},
			result: func(id, text string) any { return object{"role": "tool", "tool_call_id": id, "content": text} },
		},
		"messages": {
			path: "/v1/messages",
			body: func(h []any) any {
				return object{"model": "m", "max_tokens": 500, "messages": h, "tools": functions(func(n string) any {
					return object{"name": n, "input_schema": object{"type": "object"}}
				})}
			},
			history: []any{object{"role": "user", "content": "tide and wind?"}},
			take: func(t *testing.T, r reply) (items []any, id, name, arguments, text string) {
				content := at(r.object(t), "content").([]any)
				for _, b := range content {
					switch at(b, "type") {
					case "text":
						text = at(b, "text").(string)
					case "tool_use":
						input, _ := json.Marshal(at(b, "input"))
						id, name, arguments = at(b, "id").(string), at(b, "name").(string), spaced(input)
					}
				}
				return []any{object{"role": "assistant", "content": content}}, id, name, arguments, text
			},
			result: func(id, text string) any {
				return object{"role": "user", "content": []any{object{"type": "tool_result", "tool_use_id": id, "content": text}}}
			},
		},
		"responses": {
			path: "/v1/responses",
			body: func(h []any) any {
				return object{"model": "m", "input": h, "tools": functions(func(n string) any {
					return object{"type": "function", "name": n, "parameters": object{"type": "object"}}
				})}
			},
			history: []any{object{"role": "user", "content": "tide and wind?"}},
			take: func(t *testing.T, r reply) (items []any, id, name, arguments, text string) {
				items = at(r.object(t), "output").([]any)
				for _, x := range items {
					switch at(x, "type") {
					case "message":
						text = at(x, "content", 0, "text").(string)
					case "function_call":
						id, name, arguments = at(x, "call_id").(string), at(x, "name").(string), at(x, "arguments").(string)
					}
				}
				return items, id, name, arguments, text
			},
			result: func(id, text string) any {
				return object{"type": "function_call_output", "call_id": id, "output": text}
			},
		},
	}
}

// spaced is JSON as encoding/json writes it in the spelling of smelt's answers.
func spaced(data []byte) string {
	text := strings.Replace(string(data), `":"`, `": "`, 1)
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(text)
}

// TestAgents: an agent with two tools gets to its answer over each protocol, and what it
// sends back becomes what was generated, so the last prompts are the same everywhere.
func TestAgents(t *testing.T) {
	var last []string
	for name, a := range agents() {
		t.Run(name, func(t *testing.T) {
			e, prompts := agentEngine(t)
			calls, answer := a.run(t, serve(t, e, Options{}))
			equal(t, "calls", calls, []string{`tide{"harbour": "Brest"}`, `wind{"place": "<｜User｜> \"Ouessant\" & <x>"}`})
			equal(t, "answer", answer, "4 m and calm.")
			_, tail, _ := strings.Cut((*prompts)[2], "<｜User｜>tide and wind?")
			want := "<｜Assistant｜><think>" + agentTurns[0] + "<｜User｜><tool_result>4 m</tool_result><｜Assistant｜><think>" + agentTurns[1] + "<｜User｜><tool_result>calm</tool_result><｜Assistant｜><think>"
			equal(t, "the last prompt", tail, want)
			last = append(last, (*prompts)[2])
		})
	}
	if len(last) != 3 || last[0] != last[1] || last[1] != last[2] {
		t.Errorf("the last prompts differ: %q", last)
	}
}

package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/script"
)

const checkpoint = "../../examples/storyteller/checkpoint"

// scripted is an engine that answers with a text in which special tokens are special.
func scripted(t *testing.T, completions ...string) *script.Engine {
	t.Helper()
	e, err := script.Open(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Say(completions...); err != nil {
		t.Fatal(err)
	}
	return e
}

// client talks to a server.
type client struct {
	t      *testing.T
	server *Server
	url    string
	header http.Header
}

// serve starts a server with an engine; nil means that none is ready.
func serve(t *testing.T, e *script.Engine, o Options) *client {
	t.Helper()
	s := New(o)
	if e != nil {
		s.Ready(e)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return &client{t: t, server: s, url: h.URL, header: http.Header{}}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func (c *client) do(method, path, body string) reply {
	c.t.Helper()
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header = c.header.Clone()
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(data)}
}

func (c *client) post(path, body string) reply {
	c.t.Helper()
	return c.do(http.MethodPost, path, body)
}

// object is the body as JSON.
func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("status %d: %v in %q", r.status, err, r.body)
	}
	return v
}

// at is the value at a path of keys and indices, nil if there is none.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// event is one of a stream.
type event struct {
	name string
	data map[string]any
}

// events reads a stream: its events, whether it ended with [DONE], and its comments.
func (r reply) events(t *testing.T) (list []event, done bool, comments int) {
	t.Helper()
	if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("status %d, type %q: %s", r.status, got, r.body)
	}
	s := bufio.NewScanner(strings.NewReader(r.body))
	s.Buffer(nil, 1<<20)
	name := ""
	for s.Scan() {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, ":"):
			comments++
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case line == "data: [DONE]":
			done = true
		case strings.HasPrefix(line, "data: "):
			if done {
				t.Errorf("%q comes behind [DONE]", line)
			}
			var v map[string]any
			if err := json.Unmarshal([]byte(line[len("data: "):]), &v); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			list, name = append(list, event{name, v}), ""
		case line != "":
			t.Errorf("line %q is of no stream", line)
		}
	}
	return list, done, comments
}

// with adds members to an object.
func with(object, members string) string {
	if members == "" {
		return object
	}
	return strings.TrimSuffix(object, "}") + "," + members + "}"
}

// equal compares as JSON.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s:\n  got  %s\n  want %s", what, g, w)
	}
}

const hi = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`

// TestPaths: each path is there with and without /v1, a slash at its end and a query.
func TestPaths(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{})
	for _, x := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/health", 200}, {"GET", "/v1/health/", 200}, {"HEAD", "/health", 200},
		{"GET", "/models", 200}, {"GET", "/v1/models?beta=true", 200}, {"GET", "/v1/models/org/name/", 200},
		{"POST", "/chat/completions/?x=1", 200}, {"POST", "/v1/chat/completions", 200},
		{"GET", "/v1/chat/completions", 405}, {"POST", "/health", 405}, {"DELETE", "/v1/models", 405},
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"POST", "/v1/", 405}, {"GET", "/v2", 404}, {"POST", "/v1/chat", 404}, {"POST", "/v1/v1/chat/completions", 404}, {"GET", "/v1models", 404},
	} {
		r := c.do(x.method, x.path, hi)
		if r.status != x.status {
			t.Errorf("%s %s: %d, want %d: %s", x.method, x.path, r.status, x.status, r.body)
		}
		if x.status >= 400 && (at(r.object(t), "error", "message") == nil || r.header.Get("X-Request-Id") == "") {
			t.Errorf("%s %s: %s", x.method, x.path, r.body)
		}
		if x.status == 405 && r.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", x.method, x.path)
		}
	}
	for _, line := range []string{"GET, HEAD /health\n", "POST      /chat/completions\n"} {
		if r := c.do("GET", "/", ""); !strings.Contains(r.body, line) {
			t.Errorf("%q has no %q", r.body, line)
		}
	}
	models := c.do("GET", "/v1/models", "").object(t)
	equal(t, "models", at(models, "data"), []any{map[string]any{"id": "storyteller", "object": "model", "created": 1700000000, "owned_by": "smelt", "max_model_len": at(models, "data", 0, "max_model_len")}})
	equal(t, "a model", at(c.do("GET", "/v1/models/org/name", "").object(t), "id"), "org/name")
}

// TestLoading: until the model is open there is nothing but the news of that.
func TestLoading(t *testing.T) {
	s := New(Options{})
	h := httptest.NewServer(s)
	defer h.Close()
	c := &client{t: t, url: h.URL, header: http.Header{}}
	r := c.do("GET", "/health", "")
	equal(t, "health", r.object(t), map[string]any{"status": "loading"})
	for _, path := range []string{"/health", "/v1/models"} {
		if r := c.do("GET", path, ""); r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
	}
	s.Ready(scripted(t, "x"))
	equal(t, "health", c.do("GET", "/health", "").object(t), map[string]any{"status": "ok"})
}

// TestKeys: with keys only those who have one are served, by either header.
func TestKeys(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{Keys: []string{"one", "two"}})
	for _, x := range []struct {
		name, value string
		status      int
	}{
		{"", "", 401}, {"Authorization", "Bearer three", 401}, {"Authorization", "one", 401}, {"X-Api-Key", "on", 401},
		{"X-Api-Key", "", 401}, {"Authorization", "Bearer ", 401}, {"Authorization", "Bearer one", 200}, {"Authorization", "bearer two", 200}, {"X-Api-Key", "two", 200},
	} {
		c.header = http.Header{x.name: {x.value}}
		if x.name == "" {
			c.header = http.Header{}
		}
		if r := c.post("/v1/chat/completions", hi); r.status != x.status {
			t.Errorf("%s %q: %d, want %d", x.name, x.value, r.status, x.status)
		} else if how := r.header.Get("WWW-Authenticate"); (how == "Bearer") != (r.status == 401) {
			t.Errorf("%s %q: %d with WWW-Authenticate %q", x.name, x.value, r.status, how)
		}
		if r := c.do("GET", "/health", ""); r.status != 200 {
			t.Errorf("health: %d", r.status)
		}
	}
}

// TestPages: without keys, a server for this machine refuses what web pages may send.
func TestPages(t *testing.T) {
	e := scripted(t, "Hello")
	for _, x := range []struct {
		host, origin string
		options      Options
		status       int
	}{
		{"localhost:1", "", Options{Loopback: true}, 200}, {"[::1]:80", "", Options{Loopback: true}, 200}, {"127.0.0.1", "", Options{Loopback: true}, 200},
		{"evil.example", "", Options{Loopback: true}, 403}, {"localhost.evil.example", "", Options{Loopback: true}, 403},
		{"evil.example", "", Options{}, 200},
		{"localhost", "http://evil.example", Options{Loopback: true}, 403},
		{"localhost", "http://localhost:3000", Options{Loopback: true}, 200},
		{"localhost", "http://page.example", Options{Loopback: true, Origins: []string{"http://page.example"}}, 200},
		{"evil.example", "", Options{Loopback: true, Keys: []string{"k"}}, 401},
	} {
		c := serve(t, e, x.options)
		c.header.Set("Host", x.host)
		if x.origin != "" {
			c.header.Set("Origin", x.origin)
		}
		if r := c.post("/v1/chat/completions", hi); r.status != x.status {
			t.Errorf("%+v: %d", x, r.status)
		}
	}
}

// TestCORS: pages of listed origins may read answers, others may not.
func TestCORS(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{Origins: []string{"http://page.example"}, Keys: []string{"k"}})
	c.header = http.Header{"Origin": {"http://page.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"}}
	r := c.do("OPTIONS", "/v1/chat/completions", "")
	if r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "http://page.example" || r.header.Get("Access-Control-Allow-Headers") != "authorization" {
		t.Errorf("preflight: %d %v", r.status, r.header)
	}
	c.header = http.Header{"Origin": {"http://other.example"}, "Access-Control-Request-Method": {"POST"}}
	if r := c.do("OPTIONS", "/v1/chat/completions", ""); r.status == 204 || r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another's preflight: %d %v", r.status, r.header)
	}
	c.header = http.Header{"Origin": {"http://page.example"}, "X-Api-Key": {"k"}}
	if r := c.post("/v1/chat/completions", hi); r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "http://page.example" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

// TestBadBodies: what is wrong with a body is said with the field.
func TestBadBodies(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{})
	c.badBodies("/v1/chat/completions", []badBody{
		{``, "cut off", ""}, {`{`, "cut off", ""}, {`{]`, "the body, byte 1", ""}, {`[]`, "expected an object", ""}, {`{}`, "found none", "messages"},
		{`{"messages":"hi"}`, "found a string, expected an array", "messages"},
		{`{"messages":[{"role":"user","content":5}]}`, "expected a string", "messages[0].content"},
		{`{"messages":[{"role":"system","content":""},{"role":"developer","content":null}]}`, "found empty system messages only", "messages"},
		{`{"messages":[{"role":"king","content":"x"}]}`, "expected system", "messages[0].role"},
		{with(hi, `"max_tokens":0`), "expected 1 or more", "max_tokens"},
		{with(hi, `"max_tokens":"9"`), "expected a whole number", "max_tokens"},
		{with(hi, `"temperature":2.5`), "expected 0 to 2", "temperature"},
		{with(hi, `"top_p":0`), "above 0", "top_p"},
		{with(hi, `"presence_penalty":-3`), "expected -2 to 2", "presence_penalty"},
		{with(hi, `"logit_bias":{"5":100.5}`), "found 100.5 for token 5, expected -100 to 100", "logit_bias"},
		{with(hi, `"logit_bias":{"99999999":1}`), "expected an id from 0", "logit_bias"},
		{with(hi, `"logit_bias":{"05":1}`), "expected an id from 0", "logit_bias"},
		{with(hi, `"logit_bias":{"the":1}`), `found token "the"`, "logit_bias"},
		{with(hi, `"logit_bias":{"5":"1"}`), "found a string, expected a number", "logit_bias[5]"},
		{with(hi, `"logit_bias":{`+manyBiases(1025)+`}`), "found 1025 tokens, expected at most 1024", "logit_bias"},
		{with(hi, `"n":5`), "expected 1 to 4", "n"},
		{with(hi, `"stop":["a",""]`), "one character", "stop[1]"},
		{with(hi, `"stop":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]`), "at most 16", "stop"},
		{with(hi, `"stream":1`), "expected a boolean", "stream"},
		{with(hi, `"top_logprobs":3`), "without logprobs", "top_logprobs"},
		{with(hi, `"logprobs":true,"top_logprobs":21`), "0 to 20", "top_logprobs"},
		{with(hi, `"tools":[{"type":"function","function":{"name":"a\"b"}}]`), "1 to 256 bytes", "tools[0].function.name"},
		{with(hi, `"tool_choice":"required"`), "has none", "tool_choice"},
		{with(hi, `"tool_choice":"maybe"`), "expected none, auto", "tool_choice"},
		{with(hi, `"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}`), "none of tools", "tool_choice"},
		{with(hi, `"response_format":{"type":"xml"}`), "expected text", "response_format.type"},
		{with(hi, `"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"file:///etc/passwd"}}}`), "outside", "response_format.json_schema.schema"},
		{with(hi, `"response_format":{"type":"json_schema","json_schema":{"schema":null}}`), "found none", "response_format.json_schema.schema"},
		{with(hi, `"response_format":{"type":"json_schema","json_schema":{"schema":"x"}}`), "found a string, expected an object", "response_format.json_schema.schema"},
		{with(hi, `"tools":[{"type":"function","function":{"name":"f","parameters":"{}"}}]`), "found a string, expected an object", "tools[0].function.parameters"},
		{with(hi, `"reasoning_effort":"huge"`), "expected minimal", "reasoning_effort"},
		{with(hi, `"reasoning":{"effort":"huge"}`), "expected minimal", "reasoning.effort"},
		{with(hi, `"chat_template_kwargs":{"reasoning_effort":"huge"}`), "expected minimal", "chat_template_kwargs.reasoning_effort"},
		{with(hi, `"thinking":{"type":"on"}`), "expected enabled", "thinking.type"},
		{with(hi, `"x":`+strings.Repeat("[", 600)+strings.Repeat("]", 600)), "deep", ""},
	})
	if r := serve(t, scripted(t, "x"), Options{Options: limits(10)}).post("/v1/chat/completions", hi); r.status != 413 {
		t.Errorf("a large body: %d", r.status)
	}
}

// manyBiases are members of a logit_bias.
func manyBiases(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"%d":1`, i))
	}
	return strings.Join(list, ",")
}

// badBody is a body and what its error says.
type badBody struct{ body, text, param string }

func (c *client) badBodies(path string, list []badBody) {
	c.t.Helper()
	for _, x := range list {
		r := c.post(path, x.body)
		message, _ := at(r.object(c.t), "error", "message").(string)
		param, _ := at(r.object(c.t), "error", "param").(string)
		if r.status != 400 || !strings.Contains(message, x.text) || param != x.param {
			c.t.Errorf("%.100s: %d, %q about %q; want %q about %q", x.body, r.status, message, param, x.text, x.param)
		}
	}
}

// TestIgnored: fields that nobody knows, and those that change nothing, are no errors.
func TestIgnored(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{})
	for _, members := range []string{
		`"x":{"y":[1]},"user":"u","store":true,"metadata":{"a":"b"},"service_tier":"auto","prompt_cache_key":"k"`,
		`"logit_bias":{},"presence_penalty":0,"n":1,"stop":null,"temperature":null,"tools":null,"tool_choice":null,"response_format":null`,
		`"tools":[{"type":"web_search"},{"type":"function","function":{"name":"f","strict":true,"x":1}}]`,
		`"stream_options":{"include_usage":true}`,
	} {
		if r := c.post("/v1/chat/completions", with(hi, members)); r.status != 200 {
			t.Errorf("%s: %d %s", members, r.status, r.body)
		}
	}
}

// TestOverflow: agents know a full context by these words.
func TestOverflow(t *testing.T) {
	e := scripted(t, "Hello")
	e.About.Context = 8
	c := serve(t, e, Options{})
	r := c.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"one two three four five six seven eight nine"}],"max_tokens":7}`)
	prompt := 0
	if r.status != 400 || at(r.object(t), "error", "code") != "context_length_exceeded" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	message := at(r.object(t), "error", "message").(string)
	if _, err := fmt.Sscanf(message, "This model's maximum context length is 8 tokens. However, you requested %d tokens (", new(int)); err != nil {
		t.Errorf("%q: %v", message, err)
	}
	if _, err := fmt.Sscanf(message[strings.Index(message, "("):], "(%d in the messages, 7 in the completion).", &prompt); err != nil || prompt < 9 {
		t.Errorf("%q: %v", message, err)
	}
	// What fits with fewer tokens than were asked for is not refused.
	e.About.Context = 16
	if r := c.post("/v1/chat/completions", with(hi, `"max_tokens":4096`)); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestFull: who finds no room is told when to come again.
func TestFull(t *testing.T) {
	e := scripted(t, "Hello")
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	e.Room = 1
	e.Before = func(context.Context, int) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-leave
		return nil
	}
	c := serve(t, e, Options{})
	first := make(chan reply)
	go func() { first <- c.post("/v1/chat/completions", hi) }()
	<-entered
	r := c.post("/v1/chat/completions", hi)
	if r.status != 429 || r.header.Get("Retry-After") == "" || at(r.object(t), "error", "type") != "rate_limit_error" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	close(leave)
	if r := <-first; r.status != 200 {
		t.Errorf("the first: %d %s", r.status, r.body)
	}
}

func limits(body int64) (o api.Options) {
	o.MaxBody = body
	return o
}

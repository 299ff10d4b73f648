package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestManyParts: whatever a list is filled with, a body of many small things is refused
// before it takes far more memory than it has bytes.
func TestManyParts(t *testing.T) {
	c := serve(t, scripted(t, "Hello"), Options{})
	const many = 1<<20 + 1
	for _, x := range []struct{ path, before, filler, after string }{
		{"/v1/chat/completions", `{"messages":[`, `{}`, `]}`},
		{"/v1/chat/completions", `{"messages":[`, `null`, `]}`},
		{"/v1/chat/completions", `{"tools":[`, `{}`, `]}`},
		{"/v1/chat/completions", `{"stop":[`, `""`, `]}`},
		{"/v1/chat/completions", `{"logit_bias":{`, `"1":0`, `}}`},
		{"/v1/completions", `{"prompt":[`, `[]`, `]}`},
		{"/v1/messages", `{"messages":[{"content":[`, `{}`, `]}]}`},
		{"/v1/responses", `{"input":[`, `{}`, `]}`},
		{"/tokenize", `{"x":[`, `true`, `]}`},
	} {
		r := c.post(x.path, x.before+strings.Repeat(x.filler+",", many)+x.filler+x.after)
		if r.status != 400 || !strings.Contains(r.body, "more than 1048576 names, texts, lists and objects") {
			t.Errorf("%s of %s: %d %.200s", x.path, x.filler, r.status, r.body)
		}
	}
	if r := c.post("/detokenize", `{"tokens":[`+strings.Repeat("5,", many)+`5]}`); r.status != 200 {
		t.Errorf("as many numbers: %d %.200s", r.status, r.body)
	}
}

// TestLongNames: names that requests bring are neither written to the log nor given back
// at any length or number.
func TestLongNames(t *testing.T) {
	var log bytes.Buffer
	c := serve(t, scripted(t, "Hello"), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	long := strings.Repeat("n", 5000)
	for path, body := range map[string]string{"/v1/chat/completions": hi, "/v1/completions": `{"prompt":"x"}`, "/v1/messages": `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, "/v1/responses": `{"input":"x"}`} {
		if r := c.post(path, with(body, `"model":"`+long+`"`)); r.status != 400 || !strings.Contains(r.body, "model: found 5000 bytes, expected at most 1024") {
			t.Errorf("%s: %d %.200s", path, r.status, r.body)
		}
	}
	var kinds []string
	for i := range 1000 {
		kinds = append(kinds, fmt.Sprintf(`{"type":"%d%s"}`, i%100, long))
	}
	list := strings.Join(kinds, ",")
	for path, body := range map[string]string{"/v1/chat/completions": with(hi, `"tools":[`+list+`]`), "/v1/messages": `{"max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[` + list + `]}`, "/v1/responses": `{"input":[{"role":"user","content":"x"},` + list + `],"tools":[` + list + `]}`} {
		log.Reset()
		if r := c.post(path, body); r.status != 200 {
			t.Errorf("%s: %d %.200s", path, r.status, r.body)
		}
		if n := log.Len(); n > 2000 || !strings.Contains(log.String(), "skipped_tool=0n") || !strings.Contains(log.String(), "skipped_tool=7n") {
			t.Errorf("%s: a log of %d bytes: %.300s", path, n, log.String())
		}
	}
}

// TestSlowBodies: a request that is refused gets its answer, and its connection an end,
// also if its body never comes.
func TestSlowBodies(t *testing.T) {
	s := New(Options{Options: limits(1 << 20), Loopback: true, ReadTimeout: 50 * time.Millisecond})
	s.Ready(scripted(t, "Hello"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	for _, x := range []struct {
		name, path, header string
		status             int
	}{
		{"another host", "/v1/chat/completions", "Host: evil\r\nContent-Length: 1000", 403},
		{"another host, in chunks", "/v1/chat/completions", "Host: evil\r\nTransfer-Encoding: chunked", 403},
		{"no path", "/nowhere", "Host: localhost\r\nContent-Length: 1000", 404},
		{"a method", "/v1/models", "Host: localhost\r\nContent-Length: 1000", 405},
		{"an encoding", "/v1/completions", "Host: localhost\r\nContent-Encoding: br\r\nContent-Length: 1000", 415},
		{"too long", "/v1/completions", "Host: localhost\r\nContent-Length: 1048577", 413},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\n%s\r\n\r\n5\r\nabc", x.path, x.header)
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != x.status {
			t.Errorf("%s: %d, want %d", x.name, resp.StatusCode, x.status)
		}
		if _, err := from.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", x.name)
		}
		conn.Close()
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestTexts: more texts than may ever run and wait are an error of the request, which
// trying again does not mend.
func TestTexts(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	e.About.Texts = 3
	c := serve(t, e, Options{})
	for _, x := range []struct {
		body   string
		status int
	}{
		{`{"prompt":["a","b","c"]}`, 200}, {`{"prompt":["a","b","c","d"]}`, 400}, {`{"prompt":["a","b"],"n":2}`, 400},
		{`{"prompt":["a","b","c","d"],"echo":true,"max_tokens":0}`, 200},
	} {
		if r := c.post("/v1/completions", x.body); r.status != x.status || r.status == 400 && !strings.Contains(r.body, "at most 3 texts") {
			t.Errorf("%s: %d %s", x.body, r.status, r.body)
		}
	}
}

// TestLongTexts: what cannot have room however few tokens it has is refused before it is
// made tokens of, in each protocol's words; counting is not.
func TestLongTexts(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	e.About.Context = 16
	if e.About.Longest < 8 || e.About.Longest > 64 {
		t.Fatalf("the longest token has %d bytes", e.About.Longest)
	}
	longest := ""
	for id := range e.About.Vocab {
		if text := e.About.Spell(int32(id)); len(text) == e.About.Longest {
			longest = text
		}
	}
	if ids, err := e.About.Encode(longest, true); err != nil || len(ids) != 1 {
		t.Fatalf("%q is %v, %v", longest, ids, err)
	}
	c := serve(t, e, Options{})
	long := strings.Repeat("a", 17*e.About.Longest) // 17 tokens at least
	body := `{"max_tokens":3,"messages":[{"role":"user","content":"` + long + `"}],"input":"` + long + `","prompt":"` + long + `"}`
	tokenizer := e.About.Tokenizer
	e.About.Tokenizer = nil // nobody may ask it
	for path, want := range map[string]string{
		"/v1/chat/completions": "This model's maximum context length is 16 tokens. However, you requested 18 tokens (17 in the messages, 1 in the completion).",
		"/v1/completions":      "This model's maximum context length is 16 tokens.",
		"/v1/responses":        "This model's maximum context length is 16 tokens.",
		"/v1/messages":         "prompt is too long: 17 tokens > 16 maximum",
	} {
		r := c.post(path, body)
		if message, _ := at(r.object(t), "error", "message").(string); r.status != 400 || !strings.HasPrefix(message, want) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	e.About.Tokenizer = tokenizer
	for path, field := range map[string]string{"/v1/messages/count_tokens": "input_tokens", "/tokenize": "count"} {
		if n, _ := at(c.post(path, body).object(t), field).(float64); n < 17 {
			t.Errorf("%s: %v tokens", path, n)
		}
	}
}

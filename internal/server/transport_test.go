package server

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
)

const (
	stream = `"stream":true`
	direct = `"thinking":{"type":"disabled"}`
)

// asked answers a request without a network.
func asked(ctx context.Context, s *Server, path, body string) reply {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body)))
	return reply{w.Code, w.Header(), w.Body.String()}
}

// TestKeepAlive: while a prompt is read for 31 s, a stream gets six signs of life in the
// form that its protocol's clients count, and an answer in one piece two newlines.
func TestKeepAlive(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	synctest.Test(t, func(t *testing.T) {
		e.Before = func(_ context.Context, i int) error {
			if i == 0 {
				time.Sleep(31 * time.Second)
			}
			return nil
		}
		s := New(Options{Options: api.Options{PlainKeepAlive: 15 * time.Second}})
		s.Ready(e)
		for path, sign := range map[string]string{"/v1/chat/completions": "", "/v1/completions": "", "/v1/messages": "ping", "/v1/responses": "response.in_progress"} {
			body := with(hi, `"max_tokens":9,"prompt":"x","input":"x"`)
			r := asked(t.Context(), s, path, with(body, stream))
			list, _, signs := r.events(t)
			for _, e := range list {
				if e.name == sign && sign != "" {
					signs++
				}
			}
			if sign == "response.in_progress" {
				signs-- // the one at the beginning
				streamedResponse(t, r)
			}
			if signs != 6 || strings.Contains(r.body, "\n\n\n") || strings.Contains(r.body, "\nid:") {
				t.Errorf("%s: %d signs in %q", path, signs, r.body)
			}
			if r := asked(t.Context(), s, path, body); !strings.HasPrefix(r.body, "\n\n{") || !strings.Contains(r.body, "Hello") || r.status != 200 {
				t.Errorf("%s: %q", path, r.body)
			}
		}
	})
}

// TestHeadersFirst: a stream begins before the first token is there.
func TestHeadersFirst(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	leave := make(chan struct{})
	e.Before = func(context.Context, int) error { <-leave; return nil }
	c := serve(t, e, Options{})
	resp, err := http.Post(c.url+"/v1/chat/completions", "", strings.NewReader(with(hi, stream)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.Contains(line, `"role":"assistant"`) {
		t.Errorf("%q %v", line, err)
	}
	close(leave)
}

// TestFailure: what fails on the way is the stream's last event, or the status of an
// answer in one piece; why is in the log alone.
func TestFailure(t *testing.T) {
	for _, x := range []struct {
		name string
		fail func(i int) error
	}{
		{"an error", func(i int) error {
			if i == 2 {
				return errors.New("the device burns")
			}
			return nil
		}},
		{"a bug", func(i int) error {
			if i == 2 {
				panic("the device burns")
			}
			return nil
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			e := scripted(t, "Hello there, one and all"+eos)
			e.Before = func(_ context.Context, i int) error { return x.fail(i) }
			var log strings.Builder
			s := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			s.Ready(e)
			for path, kind := range map[string][]any{
				"/v1/chat/completions": {"error", "type"}, "/v1/completions": {"error", "type"},
				"/v1/messages": {"error", "type"}, "/v1/responses": {"response", "error", "code"},
			} {
				body, want := with(hi, `"max_tokens":9,"prompt":"x","input":"x"`), "server_error"
				r := asked(t.Context(), s, path, with(body, stream))
				if path == "/v1/messages" {
					want = "api_error"
				}
				list, done, _ := r.events(t)
				if last := list[len(list)-1]; done || at(last.data, kind...) != want || len(list) < 2 || last.name == "" && path == "/v1/messages" {
					t.Errorf("%q", r.body)
				}
				plain := asked(t.Context(), s, path, body)
				if plain.status != 500 || at(plain.object(t), "error", "type") != want {
					t.Errorf("%d %s", plain.status, plain.body)
				}
				for _, r := range []reply{r, plain} {
					if strings.Contains(r.body, "burns") || strings.Count(log.String(), "id="+r.header.Get("X-Request-Id")) != 1 {
						t.Errorf("%q, log %q", r.body, log.String())
					}
				}
			}
			if strings.Count(log.String(), "burns") < 8 || e.Running() != 0 {
				t.Errorf("%d run, log %q", e.Running(), log.String())
			}
		})
	}
	e := scripted(t, "x")
	e.Reply = func(engine.Request) []int32 { panic("on fire") }
	if r := serve(t, e, Options{}).post("/v1/chat/completions", hi); r.status != 500 || strings.Contains(r.body, "fire") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestLateFailure: behind newlines the status is sent, so an error is the answer's body.
func TestLateFailure(t *testing.T) {
	e := scripted(t, "Hello"+eos)
	synctest.Test(t, func(t *testing.T) {
		e.Before = func(context.Context, int) error {
			time.Sleep(20 * time.Second)
			return errors.New("the device burns")
		}
		s := New(Options{Options: api.Options{PlainKeepAlive: 15 * time.Second}})
		s.Ready(e)
		r := asked(t.Context(), s, "/v1/chat/completions", hi)
		if r.status != 200 || !strings.HasPrefix(r.body, "\n{") || at(r.object(t), "error", "type") != "server_error" {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
}

// TestDisconnects: clients that leave at any time leave nothing behind, and harm nobody.
// At the end of a bubble no goroutine may be left.
func TestDisconnects(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	e := scripted(t, "I think about it.</think>Well, hello."+callStart+oneCall+callEnd+eos)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 1))
		e.Before = func(ctx context.Context, _ int) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return nil
		}
		s := New(Options{Options: api.Options{PlainKeepAlive: 3 * time.Second}})
		s.Ready(e)
		left := 0
		for i := range 300 {
			after := time.Duration(r.Int64N(int64(150 * time.Second)))
			ctx, cancel := context.WithTimeout(t.Context(), after)
			body, path := with(withTool, `"n":2`), bodyPaths[i%len(bodyPaths)]
			if r.IntN(2) == 0 {
				body = with(body, stream)
			}
			asked(ctx, s, path, with(body, `"max_tokens":100,"prompt":"x","input":"hi"`))
			if ctx.Err() != nil {
				left++
			}
			cancel()
			if n := e.Running(); n != 0 {
				t.Fatalf("request %d, left after %v: %d texts run on", i, after, n)
			}
		}
		if left < 50 || left > 290 {
			t.Errorf("%d of 300 left: the test tests nothing", left)
		}
		whole := asked(t.Context(), s, "/v1/chat/completions", withTool)
		if m := plainChat(t, whole, 0); m.Finish != "tool_calls" {
			t.Errorf("%+v", m)
		}
	})
}

// bodyPaths are the endpoints that generate.
var bodyPaths = []string{"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"}

// TestClientGone: the end of a connection ends its text, streamed or not.
func TestClientGone(t *testing.T) {
	for _, body := range []string{hi, with(hi, stream)} {
		e := scripted(t, "Hello"+eos)
		entered, ended := make(chan struct{}), make(chan struct{})
		e.Before = func(ctx context.Context, i int) error {
			if i == 0 {
				close(entered)
				<-ctx.Done()
				close(ended)
			}
			return ctx.Err()
		}
		c := serve(t, e, Options{})
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-entered
			leave()
		}()
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
		<-ended
	}
}

// deaf is a client that takes nothing after some writes.
type deaf struct {
	*httptest.ResponseRecorder
	writes int
}

func (d *deaf) Write(p []byte) (int, error) {
	if d.writes--; d.writes < 0 {
		return 0, errors.New("broken pipe")
	}
	return d.ResponseRecorder.Write(p)
}

// TestBrokenPipe: a write that fails ends the text.
func TestBrokenPipe(t *testing.T) {
	e := scripted(t, "One two three four five six"+eos)
	s := New(Options{})
	s.Ready(e)
	for writes := range 6 {
		w := &deaf{httptest.NewRecorder(), writes}
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(with(hi, stream))))
		if e.Running() != 0 {
			t.Errorf("after %d writes %d texts run", writes, e.Running())
		}
	}
}

// TestShutdown: what runs may end when the server does, for a while.
func TestShutdown(t *testing.T) {
	for _, x := range []struct {
		name  string
		grace time.Duration
		done  bool
	}{{"in time", time.Minute, true}, {"out of time", time.Nanosecond, false}} {
		t.Run(x.name, func(t *testing.T) {
			e := scripted(t, "Hello"+eos)
			entered, leave := make(chan struct{}), make(chan struct{})
			e.Before = func(ctx context.Context, i int) error {
				if i == 0 {
					close(entered)
					select {
					case <-leave:
					case <-ctx.Done():
					}
				}
				return nil
			}
			s := New(Options{Grace: x.grace})
			s.Ready(e)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error)
			go func() { served <- s.Serve(ctx, l) }()
			c := &client{t: t, url: "http://" + l.Addr().String(), header: http.Header{}}
			resp, err := http.Post(c.url+"/v1/chat/completions", "", strings.NewReader(with(hi, stream)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			<-entered
			stop()
			if x.done {
				for { // until the listener is closed
					conn, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						break
					}
					conn.Close()
				}
				close(leave)
			}
			var text strings.Builder
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
			}
			if strings.Contains(text.String(), "[DONE]") != x.done || strings.Contains(text.String(), "shutting down") == x.done {
				t.Errorf("%q", text.String())
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLog: a request is one line, with its prompt only if that was asked for.
func TestLog(t *testing.T) {
	for _, prompts := range []bool{false, true} {
		var log strings.Builder
		s := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Options: api.Options{LogPrompts: prompts}})
		s.Ready(scripted(t, "Hello"+eos))
		asked(t.Context(), s, "/v1/chat/completions", strings.Replace(hi, "hi", "a secret", 1))
		line := log.String()
		if strings.Count(line, "\n") != 1 || strings.Contains(line, "secret") != prompts {
			t.Errorf("%q", line)
		}
		for _, part := range []string{"id=req_", `endpoint="POST /chat/completions"`, "status=200", "prompt_tokens=", "new_tokens=", "cached_tokens=0", "cache_end=", "finish=end", "model=m"} {
			if !strings.Contains(line, part) {
				t.Errorf("%q has no %s", line, part)
			}
		}
	}
}

// TestMetrics: what happened is counted.
func TestMetrics(t *testing.T) {
	c := serve(t, scripted(t, "Hello"+eos), Options{})
	c.post("/v1/chat/completions", hi)
	c.post("/v1/chat/completions", "")
	w := &deaf{httptest.NewRecorder(), 1}
	c.server.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(with(hi, stream))))
	r := c.do("GET", "/metrics", "")
	for _, line := range []string{
		`smelt_requests_total{code="200",endpoint="/chat/completions"} 2`, `smelt_requests_total{code="400",endpoint="/chat/completions"} 1`,
		`smelt_texts_total{finish="end"} 1`, `smelt_texts_total{finish="cancelled"} 1`, `smelt_cancelled_requests_total 1`, `smelt_first_token_seconds_count 1`, `smelt_active_texts 0`, `smelt_waiting_texts 0`,
	} {
		if !strings.Contains(r.body, "\n"+line+"\n") {
			t.Errorf("no %s in %s", line, r.body)
		}
	}
}

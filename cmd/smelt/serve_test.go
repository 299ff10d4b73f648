package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server"
)

// TestServe: a server says where it listens when its model is open, answers with the
// model, and ends with status 0.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	from, to := io.Pipe()
	keys := writeFile(t, filepath.Join(t.TempDir(), "keys"), "# mine\nopen sesame 1\n")
	if status := execute(ctx, []string{"serve", storyteller, "--api-key-file", keys}, stdio{strings.NewReader(""), io.Discard, io.Discard}); status != 1 {
		t.Errorf("a key with blanks: status %d", status)
	}
	writeFile(t, keys, "# mine\nsesame\n")
	var errors bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- execute(ctx, []string{"serve", storyteller, "--port", "0", "--device", "reference", "--context", "64", "--api-key-file", keys, "--name", "teller", "--cache-ram", "64MiB", "--chat-profile", "0731"}, stdio{strings.NewReader(""), to, &errors})
		to.Close()
	}()
	line, err := bufio.NewReader(from).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: status %d, %s", err, <-ended, errors.String())
	}
	url := strings.TrimSuffix(line, "\n")
	ask := func(method, path, body, key string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		defer resp.Body.Close()
		var v map[string]any
		must(t, json.NewDecoder(resp.Body).Decode(&v))
		return resp.StatusCode, v
	}
	if status, v := ask("GET", "/health", "", ""); status != 200 || v["status"] != "ok" {
		t.Errorf("%d %v", status, v)
	}
	if status, v := ask("GET", "/v1/models", "", "pepper"); status != 401 {
		t.Errorf("%d %v", status, v)
	}
	status, v := ask("POST", "/v1/completions", `{"prompt":"Once upon a","max_tokens":1,"temperature":0,"logprobs":1}`, "sesame")
	choice, _ := json.Marshal(v["choices"])
	if status != 200 || v["model"] != "teller" || !strings.Contains(string(choice), `"text":" time"`) || !strings.Contains(string(choice), `"tokens":[" time"]`) {
		t.Errorf("%d %v", status, v)
	}
	status, v = ask("POST", "/v1/completions", `{"prompt":"Once upon a","max_tokens":0,"echo":true,"logprobs":1}`, "sesame")
	choice, _ = json.Marshal(v["choices"])
	if status != 200 || !strings.Contains(string(choice), `"token_logprobs":[null,-`) {
		t.Errorf("%d %s", status, choice)
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("status %d: %s", status, errors.String())
	}
	if !strings.Contains(errors.String(), "chat format DeepSeek-V4-0731\n") || strings.Count(errors.String(), "kept of texts that lose their slot: up to 67.1 MB (--cache-ram)\n") != 1 {
		t.Errorf("%s", errors.String())
	}
	if log := errors.String(); strings.Count(log, `msg=request`) != 3 || strings.Contains(log, "Once upon") {
		t.Errorf("log %s", log)
	}
}

// TestServeFlags: what makes no sense is said before a model is opened.
func TestServeFlags(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	must(t, err)
	empty := writeFile(t, filepath.Join(t.TempDir(), "keys"), "\n# none\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--host", "0.0.0.0"}, "--host 0.0.0.0 lets other machines in, and there is no key: give --api-key-file"},
		{[]string{"--api-key-file", empty}, "found no key, expected one a line"},
		{[]string{"--api-key-file", empty + "x"}, "--api-key-file: "},
		{[]string{"--api-key", ""}, "--api-key: found a key of 0 bytes"},
		{[]string{"--api-key", "a", "--no-auth"}, "--no-auth contradicts a key"},
		{[]string{"--cors-origin", "https://page.example", "--cors-origin", "https://page.example/"}, `--cors-origin "https://page.example/": expected an origin`},
		{[]string{"--cors-origin", "page.example"}, "expected an origin"},
		{[]string{"--cors-origin", "https://Page.example"}, "in small letters"},
		{[]string{"--cors-origin", "*", "--cors-origin", "http://localhost:3000", "--host", "LOCALHOST", "--effort", "huge"}, "--effort: found effort"},
		{[]string{"--port", "70000"}, "0 to 65535"},
		{[]string{"--port", port, "--context", "64"}, "another program listens there: give another --port"},
		{[]string{"--host", "192.0.2.1", "--no-auth", "--context", "64"}, "give an address of this machine"},
		{[]string{"--context", "99999999"}, "--context"},
		{[]string{"--chat-profile", "0801"}, "--chat-profile 0801: expected one of DeepSeek-V4's: preview or 0731"},
		{[]string{"--effort", "huge"}, "--effort: found effort"},
		{[]string{"--device", "abacus"}, "--device abacus: expected"},
	} {
		r := smelt(t, "", append([]string{"serve", storyteller}, c.args...)...)
		if r.status != 1 || !strings.Contains(r.errors, c.want) || r.out != "" {
			t.Errorf("%q: %d %q, want %q", c.args, r.status, r.errors, c.want)
		}
	}
}

// TestServeEnds: who tells a server to end before its model is open ends it, with status
// 0 and without an address; a server that cannot listen any more is an error.
func TestServeEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errors bytes.Buffer
	if status := execute(ctx, []string{"serve", storyteller, "--port", "0", "--device", "reference", "--context", "64"}, stdio{strings.NewReader(""), &out, &errors}); status != 0 || out.Len() > 0 {
		t.Errorf("status %d, %q, %s", status, out.String(), errors.String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	err = serveWhile(t.Context(), server.New(server.Options{}), l, func(ctx context.Context, served <-chan struct{}) error {
		<-ctx.Done()
		<-served
		return io.ErrShortWrite
	})
	if err == nil || !strings.Contains(err.Error(), "closed") || !strings.Contains(err.Error(), io.ErrShortWrite.Error()) {
		t.Errorf("%v", err)
	}
}

package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// browser is a process that is told what to do by the DevTools protocol over two pipes.
type browser struct {
	to io.WriteCloser

	mu      sync.Mutex
	calls   int
	waiting map[int]chan message
	log     []string
	ended   error
}

// message is one of the protocol, in either direction: a call, an answer or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// start starts a browser that ends with the test. It reads calls at descriptor 3 and
// answers at 4.
func start(t testing.TB, path string) *browser {
	t.Helper()
	calls, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	flags := append(Flags(filepath.Join(t.TempDir(), "profile")), "--remote-debugging-pipe", "--hide-scrollbars", "about:blank")
	cmd := exec.CommandContext(ctx, path, flags...)
	cmd.ExtraFiles = []*os.File{calls, answers}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	calls.Close()
	answers.Close()
	b := &browser{to: to, waiting: map[int]chan message{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(from)
	}()
	t.Cleanup(func() {
		if _, err := b.call("", "Browser.close", nil); err != nil {
			cancel()
		}
		to.Close()
		cmd.Wait() // what it answers is not the test's matter
		<-read
		cancel()
		if t.Failed() {
			t.Logf("%s wrote: %.2000s", path, errs.String())
		}
	})
	return b
}

// read hands answers to those who wait for them, and keeps what pages complain of.
func (b *browser) read(from io.ReadCloser) {
	defer from.Close()
	r := bufio.NewReader(from)
	for {
		data, err := r.ReadBytes(0)
		if err != nil {
			b.end(fmt.Errorf("the browser is gone: %w", err))
			return
		}
		var m struct {
			message
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(data[:len(data)-1], &m); err != nil {
			b.end(err)
			return
		}
		b.mu.Lock()
		if answer, ok := b.waiting[m.ID]; ok {
			delete(b.waiting, m.ID)
			answer <- m.message
		}
		switch m.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			b.log = append(b.log, fmt.Sprintf("%s %.1000s", m.Method, m.Params))
		}
		b.mu.Unlock()
	}
}

func (b *browser) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = err
	for id, answer := range b.waiting {
		delete(b.waiting, id)
		close(answer)
	}
}

// call does something, in a page's session or with the browser.
func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	b.mu.Lock()
	if b.ended != nil {
		defer b.mu.Unlock()
		return nil, b.ended
	}
	b.calls++
	id, answer := b.calls, make(chan message, 1)
	b.waiting[id] = answer
	b.mu.Unlock()
	data, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: params})
	if err != nil {
		return nil, err
	}
	if _, err := b.to.Write(append(data, 0)); err != nil {
		return nil, err
	}
	m, ok := <-answer
	switch {
	case !ok:
		return nil, errors.New("the browser is gone")
	case m.Error != nil:
		return nil, errors.New(m.Error.Message)
	}
	return m.Result, nil
}

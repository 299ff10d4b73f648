package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client asks a server for texts.
type client struct{ url string }

// result is what clients saw.
type result struct {
	tokens         int
	took           time.Duration
	first, between []time.Duration
}

func (r result) rate() float64 { return float64(r.tokens) / r.took.Seconds() }

func (r *result) add(o result) {
	r.tokens += o.tokens
	r.first = append(r.first, o.first...)
	r.between = append(r.between, o.between...)
}

// prompts begin different texts, the same in each measurement.
func prompt(i int) string {
	names := []string{"Lily", "Tom", "Anna", "Ben", "Mia", "Sam", "Sue", "Max"}
	things := []string{"a red ball", "an old boat", "a small dog", "a big tree", "the rain", "a blue hat", "the moon", "a lost key"}
	return fmt.Sprintf("Once upon a time, %s saw %s. One day,", names[i%len(names)], things[i/len(names)%len(things)])
}

// drive has n clients ask for so many texts in all, each as soon as it has the one before.
func (c *client) drive(ctx context.Context, n, texts, tokens int) (result, error) {
	return c.all(ctx, n, func(i int) bool { return i < texts }, tokens)
}

// during has n clients ask for texts as long as that.
func (c *client) during(ctx context.Context, n int, long time.Duration, tokens int) (result, error) {
	end := time.Now().Add(long)
	return c.all(ctx, n, func(int) bool { return time.Now().Before(end) }, tokens)
}

func (c *client) all(ctx context.Context, n int, more func(i int) bool, tokens int) (sum result, failed error) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	defer transport.CloseIdleConnections()
	begun := time.Now()
	for range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if !more(i) {
					return
				}
				r, err := c.text(ctx, transport, i, tokens)
				mu.Lock()
				sum.add(r)
				if err != nil && failed == nil {
					failed = err
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	sum.took = time.Since(begun)
	return sum, failed
}

// body asks for a text, the same one each time.
func body(i, tokens int, more string) string {
	return fmt.Sprintf(`{"prompt":%q,"max_tokens":%d,"temperature":0,"stream":true,"stream_options":{"include_usage":true}%s}`, prompt(i), tokens, more)
}

// text asks for a text and takes the time of its tokens.
func (c *client) text(ctx context.Context, transport http.RoundTripper, i, tokens int) (r result, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/completions", strings.NewReader(body(i, tokens, "")))
	if err != nil {
		return r, err
	}
	last := time.Now()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return r, fmt.Errorf("%s: %s", response.Status, text)
	}
	lines, done := bufio.NewScanner(response.Body), false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if done = data == "[DONE]"; done {
			continue
		}
		var chunk struct {
			Choices []struct{ Text string }
			Usage   struct {
				Tokens int `json:"completion_tokens"`
			}
			Error json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil || chunk.Error != nil {
			return r, fmt.Errorf("found %.200s: %v", data, err)
		}
		r.tokens += chunk.Usage.Tokens
		if len(chunk.Choices) == 0 || chunk.Choices[0].Text == "" {
			continue
		}
		now := time.Now()
		if r.first == nil {
			r.first = []time.Duration{now.Sub(last)}
		} else {
			r.between = append(r.between, now.Sub(last))
		}
		last = now
	}
	if err := lines.Err(); err != nil {
		return r, err
	}
	if !done {
		return r, fmt.Errorf("text %d ended without [DONE]", i)
	}
	return r, nil
}

// deaf asks for a text without end, with much beside each token, and reads nothing of it
// until ctx ends. Had the text ended by then, buffers would have taken all of it, and the
// server would have waited for nobody; that is an error.
func (c *client) deaf(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		return err
	}
	text := body(0, 1<<20, `,"logprobs":20,"repetition_penalty":0.5`)
	if _, err := fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(text), text); err != nil {
		return err
	}
	<-ctx.Done()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	sent, _ := io.ReadAll(io.LimitReader(conn, 1<<30)) // the server may have hung up
	if bytes.Contains(sent, []byte("[DONE]")) {
		return fmt.Errorf("a client that read nothing was sent all of its text, %d MB: give the server a larger --context", len(sent)>>20)
	}
	return nil
}

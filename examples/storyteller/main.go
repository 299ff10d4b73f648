// Command storyteller uses smelt as a library: it opens the checkpoint beside
// it, tells a story, and then answers a question about something said about a
// thousand tokens earlier.
//
//	go run ./examples/storyteller
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"smelt.example/smelt"
	"smelt.example/smelt/runtime/sampling"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := tell(ctx, os.Stdout, checkpointFolder()); err != nil {
		fmt.Fprintln(os.Stderr, "storyteller:", err)
		os.Exit(1)
	}
}

// checkpointFolder is the folder beside this file, or the program's argument.
func checkpointFolder() string {
	if len(os.Args) > 1 {
		return os.Args[1]
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "checkpoint")
}

// remember is a text with a secret word in its first lines and a question
// about it at its end, some 1,000 tokens later.
//
//go:embed remember.txt
var remember string

func tell(ctx context.Context, out io.Writer, dir string) error {
	m, err := smelt.Open(ctx, dir, smelt.Options{Context: 2048})
	if err != nil {
		return err
	}
	defer m.Close()
	if doc, why := m.DeviceChoice(); why != "" {
		fmt.Fprintf(os.Stderr, "device %s: %s (%s)\n", m.Device(), doc, why)
	}
	fmt.Fprintf(out, "A story, with temperature 0.7:\n\nOnce upon a time")
	how := &sampling.Params{Temperature: 0.7, TopP: 0.95, Seed: 26}
	if err := proceed(ctx, out, m, smelt.Request{Prompt: "Once upon a time", MaxTokens: 240, Sampling: how}); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n\nNow a text that mentions a secret word, goes on about other things, and asks for it:\n\n%s", excerpt(remember))
	return proceed(ctx, out, m, smelt.Request{Prompt: remember, MaxTokens: 1, Sampling: &sampling.Params{}})
}

// proceed prints a text as it comes, and last how fast that was.
func proceed(ctx context.Context, out io.Writer, m *smelt.Model, r smelt.Request) error {
	g, err := m.Generate(ctx, r)
	if err != nil {
		return err
	}
	for text, err := range g.Text() {
		if err != nil {
			return err
		}
		fmt.Fprint(out, text)
	}
	text, err := g.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n\n(read %s; wrote %s; %s)\n", speed(text.PromptTokens, text.PromptTime), speed(len(text.Tokens), text.TextTime), text.Reason)
	return nil
}

// excerpt keeps the first and the last lines of a long text.
func excerpt(text string) string {
	lines := strings.Split(text, "\n")
	head, tail := lines[:3], lines[len(lines)-2:]
	return strings.Join(head, "\n") + "\n[...]\n" + strings.Join(tail, "\n")
}

// speed writes a count with how fast that was. The first token is there as
// soon as the prompt is read, so one token has no speed of its own.
func speed(tokens int, took time.Duration) string {
	if tokens < 2 {
		return fmt.Sprintf("%d token", tokens)
	}
	return fmt.Sprintf("%d tokens in %.1f s, %.0f a second", tokens, took.Seconds(), float64(tokens)/took.Seconds())
}

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

	"smelt/codegen/bundle"
	"smelt/models"
	"smelt/models/tokenizer"
	"smelt/runtime/cpu"
	"smelt/runtime/cpu/jit"
	"smelt/runtime/device"
	"smelt/runtime/reference"
	"smelt/runtime/sampling"
	"smelt/runtime/session"
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
	model, err := models.Open(dir, models.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	tok, err := tokenizer.Open(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return err
	}
	dev, err := open(model)
	if err != nil {
		return err
	}
	defer dev.Close()
	sess, err := session.New(dev, session.Options{Context: contextTokens})
	if err != nil {
		return err
	}
	t := teller{sess, tok, model, out}

	fmt.Fprintf(out, "A story, with temperature 0.7:\n\n")
	how := sampling.Params{Temperature: 0.7, TopP: 0.95, Seed: 26}
	if err := t.proceed(ctx, "Once upon a time", "Once upon a time", 240, how); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n\nNow a text that mentions a secret word, goes on about other things, and asks for it:\n\n%s", excerpt(remember))
	return t.proceed(ctx, remember, "", 1, sampling.Greedy())
}

// contextTokens is room for the longest prompt of this program and its answer.
const contextTokens = 2048

// open compiles the model's kernels for the processor, or without libLLVM takes
// the evaluator in plain Go, which is slower and runs everywhere.
func open(model *models.Model) (device.Device, error) {
	llvm, err := jit.Open("")
	if err != nil {
		fmt.Fprintln(os.Stderr, "in plain Go, for", err)
		return reference.New(model.Graph, model.Weights)
	}
	source := bundle.Source{Name: model.Graph.Name, Graph: model.Graph, Checkpoint: model.Checkpoint, Binding: model.Binding}
	compiled, _, err := bundle.Compile(source, bundle.Options{Context: contextTokens})
	if err != nil {
		return nil, err
	}
	return cpu.Open(compiled, model.Checkpoint, cpu.Options{LLVM: llvm, Cache: jit.UserCache()})
}

// excerpt keeps the first and the last lines of a long text.
func excerpt(text string) string {
	lines := strings.Split(text, "\n")
	head, tail := lines[:3], lines[len(lines)-2:]
	return strings.Join(head, "\n") + "\n[...]\n" + strings.Join(tail, "\n")
}

// teller is what telling needs.
type teller struct {
	sess  *session.Session
	tok   *tokenizer.Tokenizer
	model *models.Model
	out   io.Writer
}

// proceed feeds a prompt to a new sequence, prints shown and then the
// continuation as it comes, and last how fast that was.
func (t teller) proceed(ctx context.Context, prompt, shown string, tokens int, how sampling.Params) error {
	ids, err := t.tok.Encode(prompt)
	if err != nil {
		return err
	}
	ids = append([]int32{t.model.BOS[0]}, ids...)
	seq, err := t.sess.Open()
	if err != nil {
		return err
	}
	defer seq.Close()
	start := time.Now()
	if err := seq.Extend(ctx, ids, nil); err != nil {
		return err
	}
	read := time.Since(start)
	fmt.Fprint(t.out, shown)
	stream := t.tok.NewStream(false)
	start = time.Now()
	n, reason, err := seq.Generate(ctx, session.GenerateOptions{
		MaxTokens: tokens, Sampling: how, Stop: t.model.EOS,
		Emit: func(token int32) error {
			text, err := stream.Push(token)
			if err == nil {
				_, err = io.WriteString(t.out, text)
			}
			return err
		},
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s\n\n(read %s; wrote %s; %s)\n", stream.Flush(), speed(len(ids), read), speed(n, time.Since(start)), reason)
	return nil
}

// speed writes a count with how fast that was. The first token is there as
// soon as the prompt is read, so one token has no speed of its own.
func speed(tokens int, took time.Duration) string {
	if tokens < 2 {
		return fmt.Sprintf("%d token", tokens)
	}
	return fmt.Sprintf("%d tokens in %.1f s, %.0f a second", tokens, took.Seconds(), float64(tokens)/took.Seconds())
}

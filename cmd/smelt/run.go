package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smelt/codegen/bundle"
	"smelt/models"
	"smelt/models/chat"
	"smelt/models/tokenizer"
	"smelt/runtime/devices"
	"smelt/runtime/sampling"
	"smelt/runtime/session"
)

// runOptions are the flags of `smelt run`.
type runOptions struct {
	prompt, system string
	chat, think    bool
	noBOS, echo    bool
	json           bool
	maxTokens      int
	context, chunk int
	device         deviceOptions
	sampling       sampling.Params
}

func newRun(io stdio) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run CHECKPOINT|BUNDLE",
		Short: "Continue a text, or answer a message with --chat",
		Long: `Run continues a prompt, given with --prompt or on standard input (there without
one newline at its end), and streams the text to standard output. Counts and
speed go to standard error.

Temperature, top-p and top-k default to the checkpoint's
generation_config.json, without one to the most likely token (--temp 0). The
filters act in the order temperature, top-k, top-p, min-p. The same seed gives
the same text; without --seed one is drawn and shown.

Of a BUNDLE, the checkpoint that it was compiled from must be where it was, and
the bundle's limits hold. Of a CHECKPOINT the kernels are compiled first, as
smelt compile does it by itself.

--device auto takes the first that works of metal (the fused kernels on a Mac's
GPU), cpu (as machine code, which libLLVM makes in this process) and reference
(plain Go), and says which. standin executes the kernels' Metal text by way of
clang, which proves it and is slow. The metal device was written and checked
without a Mac; --device cpu is the way around it.

Ctrl-C ends the text where it is; the exit status is then 130.`,
		Example: `  smelt run examples/storyteller/checkpoint --prompt "Once upon a time" --echo
  smelt run CHECKPOINT --chat --prompt "Why is the sky blue?" --max-tokens 400
  smelt run CHECKPOINT --temp 0 < prompt.txt > continuation.txt
  smelt run CHECKPOINT --prompt "2+2=" --json | jq .text
  smelt run BUNDLE --prompt "Once upon a time" --device standin -n 5`,
		Args:              oneModel,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runModel(cmd, io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.prompt, "prompt", "p", "", "text to continue, or the message with --chat (default: standard input)")
	f.BoolVar(&o.chat, "chat", false, "use DeepSeek-V4's chat format")
	f.StringVar(&o.system, "system", "", "system text, with --chat")
	f.BoolVar(&o.think, "think", false, "let the model reason before it answers, with --chat")
	intFlag(f, &o.maxTokens, "max-tokens", "n", 0, tokenCounts, "stop after this many tokens (default: when the model ends or the context is full)")
	floatFlag(f, &o.sampling.Temperature, "temp", 0, from(0, float64(maxTemperature)), "temperature; 0 takes the most likely token")
	intFlag(f, &o.sampling.TopK, "top-k", "", 0, from(0, maxTopK), "sample from the K most likely tokens; 0 is off")
	floatFlag(f, &o.sampling.TopP, "top-p", 1, limits[float64]{least: 0, most: 1, above: true}, "sample from the most likely tokens that together have this probability")
	floatFlag(f, &o.sampling.MinP, "min-p", 0, from(0.0, 1), "drop tokens less likely than this share of the most likely one")
	uint64Flag(f, &o.sampling.Seed, "seed", 0, "seed of the random numbers (default: drawn anew)")
	intFlag(f, &o.context, "context", "", 0, contexts, "longest text in tokens, prompt included (default: the model's)")
	intFlag(f, &o.chunk, "chunk", "", 0, chunks, "prompt tokens per step (default 128, or the bundle's limit if that is less)")
	f.StringVar(&o.device.name, "device", devices.Auto, "what runs the model: "+devices.All().Choices())
	intFlag(f, &o.device.Threads, "threads", "", 0, threadCounts(), "threads of --device cpu, 0 for all processors")
	f.BoolVar(&o.echo, "echo", false, "print the prompt before its continuation")
	f.BoolVar(&o.noBOS, "no-bos", false, "do not put the begin-of-sentence token before the prompt")
	f.BoolVar(&o.json, "json", false, "print one JSON object at the end instead of streaming text")
	return cmd
}

func runModel(cmd *cobra.Command, io stdio, path string, o runOptions) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	m, b, err := openModel(io, path)
	if err != nil {
		return err
	}
	defer m.Close()
	tok, err := openTokenizer(m)
	if err != nil {
		return err
	}
	defaults, err := readGenerationConfig(m.Checkpoint.Dir)
	if err != nil {
		return err
	}
	if err := o.complete(cmd, m, b, defaults); err != nil {
		return err
	}
	source := "--prompt"
	if !cmd.Flags().Changed("prompt") {
		source = "standard input"
		if o.prompt, err = promptFromInput(cmd.Context(), io.in); err != nil {
			return err
		}
	}
	ids, err := promptTokens(m, tok, o)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	o.device.Context, o.device.Chunk, o.device.Stop = o.context, o.chunk, cmd.Context().Err
	dev, err := openDevice(io, o.device, m, b)
	if err != nil {
		return interrupted(err)
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	sess, err := session.New(dev, session.Options{Chunk: o.chunk, Context: o.context})
	if err != nil {
		return err
	}
	r := runner{io: io, o: o, tok: tok, stop: append(defaults.EOS, m.EOS...), device: dev.Name()}
	return inBundle(b, r.run(cmd.Context(), sess, ids))
}

// complete fills in what was not given: from the model, its suggestions, or
// chance. b is nil for a checkpoint.
func (o *runOptions) complete(cmd *cobra.Command, m *models.Model, b *bundle.Bundle, defaults generationConfig) error {
	defaults.apply(cmd.Flags(), &o.sampling)
	if !cmd.Flags().Changed("seed") {
		o.sampling.Seed = rand.Uint64()
	}
	if b != nil {
		if err := o.limit(b); err != nil {
			return err
		}
	}
	if o.context > m.Context {
		return fmt.Errorf("--context %d: the model was made for at most %d tokens; give no more", o.context, m.Context)
	}
	if o.context == 0 {
		o.context = m.Context
	}
	return nil
}

// limit holds the sizes to what a bundle was compiled for.
func (o *runOptions) limit(b *bundle.Bundle) error {
	for _, f := range []struct {
		name     string
		value    *int
		most, by int // by is what it is if not given
	}{{"context", &o.context, b.Plan.Context, b.Plan.Context}, {"chunk", &o.chunk, b.Plan.Chunk, min(b.Plan.Chunk, 128)}} {
		if *f.value > f.most {
			return fmt.Errorf("--%s %d: the bundle was compiled for at most %d; compile it with --%s %d", f.name, *f.value, f.most, f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.by
		}
	}
	return nil
}

// inBundle adds to an error about a text that is too long what would make room
// in a bundle.
func inBundle(b *bundle.Bundle, err error) error {
	var long *session.ContextError
	if b == nil || !errors.As(err, &long) || long.Limit < b.Plan.Context {
		return err
	}
	return fmt.Errorf("%w; the bundle was compiled for at most %d: compile it with --context %d or more", err, b.Plan.Context, long.Have+long.More)
}

// check refuses flags that make no sense, before any file is opened.
func (o runOptions) check(cmd *cobra.Command) error {
	switch {
	case !o.chat && cmd.Flags().Changed("system"):
		return fmt.Errorf("--system needs --chat")
	case !o.chat && o.think:
		return fmt.Errorf("--think needs --chat")
	case o.chat && o.noBOS:
		return fmt.Errorf("--no-bos contradicts --chat: the chat format begins with that token")
	case o.echo && o.json:
		return fmt.Errorf("--echo contradicts --json, whose text is the continuation alone")
	}
	if err := o.device.check(); err != nil {
		return err
	}
	return o.sampling.Validate()
}

// promptFromInput reads the prompt from standard input, without the newline
// that echo and editors put at its end. It gives up when ctx ends.
func promptFromInput(ctx context.Context, in io.Reader) (string, error) {
	if isTerminal(in) {
		return "", fmt.Errorf("no prompt: give --prompt TEXT or pipe a text into standard input")
	}
	text, err := readText(ctx, in, "standard input")
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err
}

func promptTokens(m *models.Model, tok *tokenizer.Tokenizer, o runOptions) ([]int32, error) {
	var ids []int32
	var err error
	if o.chat {
		if m.Chat == nil {
			return nil, fmt.Errorf("%s has no chat format; run it without --chat", m.Architecture)
		}
		var messages []chat.Message
		if o.system != "" {
			messages = append(messages, chat.Message{Role: chat.RoleSystem, Content: o.system})
		}
		messages = append(messages, chat.Message{Role: chat.RoleUser, Content: o.prompt})
		mode := chat.Answer
		if o.think {
			mode = chat.Thinking
		}
		ids, err := chat.Tokens(m.Chat, messages, mode, tok)
		if errors.As(err, new(*chat.MissingTokenError)) {
			err = fmt.Errorf("%w; run it without --chat", err)
		}
		return ids, err
	}
	if ids, err = tok.Encode(o.prompt); err != nil {
		return nil, err
	}
	if !o.noBOS {
		ids = withBOS(m, ids)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the prompt is empty; give at least one character, or leave out --no-bos")
	}
	return ids, nil
}

// runner carries one generation from prompt to report.
type runner struct {
	io     stdio
	o      runOptions
	tok    *tokenizer.Tokenizer
	stop   []int32
	device string

	text   strings.Builder // with --json
	tokens []int32
}

// runReport is what --json prints. Times are in seconds.
type runReport struct {
	Text          string  `json:"text"`
	Tokens        []int32 `json:"tokens"`
	PromptTokens  int     `json:"prompt_tokens"`
	StopReason    string  `json:"stop_reason"`
	Seed          uint64  `json:"seed"`
	Device        string  `json:"device"`
	PromptSeconds float64 `json:"prompt_seconds"`
	DecodeSeconds float64 `json:"decode_seconds"`
}

func (r *runner) run(ctx context.Context, sess *session.Session, prompt []int32) error {
	seq, err := sess.Open()
	if err != nil {
		return err
	}
	defer seq.Close()
	if r.o.echo {
		if _, err := io.WriteString(r.io.out, r.o.prompt); err != nil {
			return err
		}
	}
	start := time.Now()
	bar := newProgress(r.io.err, len(prompt), "reading the prompt")
	err = seq.Extend(ctx, prompt, bar.Set)
	bar.Clear()
	report := runReport{PromptTokens: seq.Len(), Seed: r.o.sampling.Seed, Device: r.device, PromptSeconds: time.Since(start).Seconds()}
	switch {
	case errors.Is(err, context.Canceled):
		report.StopReason = string(session.StopCancelled)
		return r.finish(report)
	case err != nil:
		return err
	}
	start = time.Now()
	stream := r.tok.NewStream(false)
	_, reason, err := seq.Generate(ctx, session.GenerateOptions{
		MaxTokens: r.o.maxTokens, Sampling: r.o.sampling, Stop: r.stop,
		Emit: func(token int32) error {
			r.tokens = append(r.tokens, token)
			text, err := stream.Push(token)
			if err != nil {
				return err
			}
			return r.write(text)
		},
	})
	if err != nil {
		return err
	}
	if err := r.write(stream.Flush()); err != nil {
		return err
	}
	report.DecodeSeconds, report.StopReason = time.Since(start).Seconds(), string(reason)
	return r.finish(report)
}

func (r *runner) write(text string) error {
	r.text.WriteString(text)
	if r.o.json {
		return nil
	}
	_, err := io.WriteString(r.io.out, text)
	return err
}

func (r *runner) finish(report runReport) error {
	report.Text, report.Tokens = r.text.String(), r.tokens
	write := r.printReport
	if r.o.json {
		write = r.encodeReport
	}
	if err := write(report); err != nil {
		return err
	}
	if report.StopReason == string(session.StopCancelled) {
		return fmt.Errorf("%w, and %w", errInterrupted, errReported)
	}
	return nil
}

func (r *runner) encodeReport(report runReport) error {
	if report.Tokens == nil {
		report.Tokens = []int32{} // none is [] in JSON, not null
	}
	return json.NewEncoder(r.io.out).Encode(report)
}

// printReport ends the text's line and puts the rest on standard error.
func (r *runner) printReport(report runReport) error {
	if !strings.HasSuffix(report.Text, "\n") {
		if _, err := fmt.Fprintln(r.io.out); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.io.err, "\nprompt %s; text %s; stopped: %s\n",
		rate(report.PromptTokens, report.PromptSeconds), rate(len(report.Tokens), report.DecodeSeconds), report.StopReason)
	seed := ""
	if r.o.sampling.Temperature > 0 {
		seed = fmt.Sprintf(", seed %d", report.Seed)
	}
	fmt.Fprintf(r.io.err, "device %s, temperature %g%s\n", report.Device, r.o.sampling.Temperature, seed)
	return nil
}

// rate writes a count with its speed.
func rate(tokens int, seconds float64) string {
	if tokens == 0 || seconds <= 0 {
		return fmt.Sprintf("%d tokens", tokens)
	}
	return fmt.Sprintf("%d tokens in %.1f s (%.1f tokens/s)", tokens, seconds, float64(tokens)/seconds)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/runtime/sampling"
)

// runOptions are the flags of `smelt run`.
type runOptions struct {
	prompt, system string
	chat, think    bool
	noBOS, echo    bool
	json           bool
	maxTokens      int
	open           lib.Options
	sampling       samplingFlags
}

func newRun(io stdio) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run CHECKPOINT|BUNDLE",
		Short: "Continue a text, or answer a message with --chat",
		Long: `Run continues a prompt from --prompt or from standard input (where one newline at
the end is left out), and streams the text to standard output. Counts and
speed go to standard error.

How tokens are picked, and --stop, default to the checkpoint's
generation_config.json, or to the most likely token (--temp 0) if there is none.
Penalties act first: that of repetition on tokens of prompt and text, those of
presence and frequency on the text's; then temperature, top-k, top-p, min-p. The same
seed gives the same text; without --seed one is drawn and shown.

A text ends at a token that config.json, generation_config.json or
tokenizer_config.json names, or before a --stop string.

With a BUNDLE, its checkpoint must not have moved, and the bundle's limits hold.
With a CHECKPOINT, run first compiles the kernels, with the defaults of smelt
compile.

--device auto takes the first of the devices that works and is not slow, and says
which. The devices are:

` + deviceList() + `
The metal device was written and checked without a Mac; --device cpu avoids it.

What has no room in memory is refused before it starts, with what to change. Weights
beyond all memory are read from the disk again and again; --allow-paging lets that
happen, and says how fast it will be. Metal has all in memory or refuses.

Ctrl-C ends the text; the exit status is then 130.`,
		Example: `  smelt run examples/storyteller/checkpoint --prompt "Once upon a time" --echo
  smelt run CHECKPOINT --chat --prompt "Why is the sky blue?" --max-tokens 400
  smelt run CHECKPOINT --temp 0 < prompt.txt > continuation.txt
  smelt run CHECKPOINT --prompt "2+2=" --json | jq .text
  smelt run CHECKPOINT --prompt "Once" --repetition-penalty 1.1 --stop "The end"
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
	f.BoolVar(&o.chat, "chat", false, "use the model's chat format")
	f.StringVar(&o.system, "system", "", "system text, with --chat")
	f.BoolVar(&o.think, "think", false, "let the model reason before it answers, with --chat")
	intFlag(f, &o.maxTokens, "max-tokens", "n", 0, tokenCounts, "stop after this many tokens (default: when the model ends or the context is full)")
	o.sampling.add(f)
	intFlag(f, &o.open.Context, "context", "", 0, contexts, "longest text in tokens, prompt included (default: the model's)")
	intFlag(f, &o.open.Chunk, "chunk", "", 0, chunks, "prompt tokens per step (default 128, or the bundle's limit if that is less)")
	f.StringVar(&o.open.Device, "device", devices.Auto, "what runs the model: "+devices.All().Choices())
	intFlag(f, &o.open.Threads, "threads", "", 0, threadCounts(), "threads of --device cpu, 0 for all processors")
	gpuFlag(f, &o.open.GPU)
	targetFlag(cmd, &o.open.Target)
	pagingFlag(f, &o.open.AllowPaging)
	f.BoolVar(&o.echo, "echo", false, "print the prompt before its continuation")
	f.BoolVar(&o.noBOS, "no-bos", false, "do not put the begin-of-sentence token before the prompt")
	f.BoolVar(&o.json, "json", false, "print one JSON object at the end instead of streaming text")
	completeDevice(cmd, devices.All(), autoDevice)
	for _, text := range []string{"prompt", "system", "stop"} {
		completeWords(cmd, text) // to nothing, and not to files
	}
	return cmd
}

func runModel(cmd *cobra.Command, io stdio, path string, o runOptions) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	files, err := openFiles(io, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	request, err := o.request(cmd, io, files)
	if err != nil {
		return err
	}
	o.open.Watch = io.watch()
	end := io.wait("preparing")
	m, err := files.Start(cmd.Context(), o.open)
	end()
	if err != nil {
		return interrupted(err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if doc, why := m.DeviceChoice(); why != "" {
		fmt.Fprintf(io.err, "device %s: %s (%s)\n", m.Device(), doc, why)
	}
	r := runner{io: io, o: o, device: m.Device(), sampling: *request.Sampling}
	return inBundle(files.Bundle, r.run(cmd.Context(), m, request))
}

// request makes of flags and standard input what is asked of the model. All that
// may be wrong with it is found here, before a device is opened.
func (o *runOptions) request(cmd *cobra.Command, io stdio, files *lib.Files) (r lib.Request, err error) {
	if _, err := readTokenizer(io, files.Tokenizer); err != nil {
		return r, err
	}
	if err := o.sampling.request(cmd, files, &r); err != nil {
		return r, err
	}
	if err := printNotes(io, files); err != nil {
		return r, err
	}
	if _, err := files.Complete(o.open); err != nil {
		return r, err
	}
	source := "--prompt"
	if !cmd.Flags().Changed("prompt") {
		source = "standard input"
		if o.prompt, err = promptFromInput(cmd.Context(), io.in); err != nil {
			return r, err
		}
	}
	r.Prompt, r.NoBOS, r.MaxTokens = o.prompt, o.noBOS, o.maxTokens
	if o.chat {
		r.Prompt, r.Messages, r.Think = "", o.messages(), o.think
	}
	end := io.wait("tokenizing")
	ids, err := files.Encode(r)
	end()
	switch {
	case errors.Is(err, lib.ErrNoChat):
		err = fmt.Errorf("%w without --chat", err)
	case errors.Is(err, lib.ErrEmptyPrompt):
		err = fmt.Errorf("the prompt is empty; give at least one character, or leave out --no-bos")
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", source, err)
	}
	r.Prompt, r.Messages, r.Tokens = "", nil, ids // which need not be made again
	return r, nil
}

// messages are the conversation that --chat has answered.
func (o *runOptions) messages() (all []lib.Message) {
	if o.system != "" {
		all = append(all, lib.Message{Role: lib.RoleSystem, Content: o.system})
	}
	return append(all, lib.Message{Role: lib.RoleUser, Content: o.prompt})
}

// inBundle adds to an error about a text that is too long what would make room
// in a bundle.
func inBundle(b *bundle.Bundle, err error) error {
	var long *lib.ContextError
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
	if err := (deviceOptions{o.open.Device, devices.Options{Target: o.open.Target}}).check(); err != nil {
		return err
	}
	return o.sampling.check()
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

// runner carries one generation from prompt to report.
type runner struct {
	io       stdio
	o        runOptions
	device   string
	sampling sampling.Params
}

func (r *runner) run(ctx context.Context, m *lib.Model, request lib.Request) error {
	read := r.io.readingPrompt(m, &request)
	defer read()
	g, err := m.Generate(ctx, request)
	if err != nil {
		return err
	}
	echo := sync.OnceFunc(func() {
		if r.o.echo {
			err = r.write(r.o.prompt)
		}
	})
	if !isTerminal(r.io.out) { // where progress would have to stand in the prompt's line
		echo()
	}
	last := r.lastReport(len(request.Tokens), request.Sampling.Seed)
	if err == nil {
		err = last.publish()
	}
	count, counted := func() {}, func() {}
	first := sync.OnceFunc(func() {
		read()
		echo()
		count, counted = r.generating(m)
	})
	defer func() { counted() }()
	for piece, e := range g.Tokens() {
		first()
		count()
		if err == nil {
			err = e
		}
		if err == nil {
			err = r.write(piece.Text)
		}
		if err == nil {
			err = last.add(piece)
		}
		if err != nil {
			break
		}
	}
	result, _ := g.Wait()
	read()
	echo()
	counted()
	if step := new(*lib.StepError); errors.As(err, step) {
		err = (*step).Err // the command runs one text; its steps say nothing
	}
	if e := last.end(); err == nil {
		err = e
	}
	return r.finish(result, err)
}

// write streams text.
func (r *runner) write(text string) error {
	if r.o.json {
		return nil
	}
	_, err := io.WriteString(r.io.out, text)
	return err
}

// printReport ends the text's line and puts the rest on standard error.
func (r *runner) printReport(report runReport) error {
	if !strings.HasSuffix(report.Text, "\n") {
		if _, err := fmt.Fprintln(r.io.out); err != nil {
			return err
		}
	}
	reason := report.StopReason
	if report.StopString != "" {
		reason += " " + message.Quote(report.StopString)
	}
	fmt.Fprintf(r.io.err, "\nprompt %s; text %s; stopped: %s\n",
		rate(report.PromptTokens, report.PromptSeconds), rate(len(report.Tokens), report.DecodeSeconds), reason)
	seed := ""
	if r.sampling.Temperature > 0 {
		seed = fmt.Sprintf(", seed %d", report.Seed)
	}
	fmt.Fprintf(r.io.err, "device %s, temperature %g%s\n", report.Device, r.sampling.Temperature, seed)
	return nil
}

// rate writes a count with its speed.
func rate(tokens int, seconds float64) string {
	if tokens == 0 || seconds <= 0 {
		return plural(tokens, "token")
	}
	return fmt.Sprintf("%s in %.1f s (%.1f tokens/s)", plural(tokens, "token"), seconds, float64(tokens)/seconds)
}

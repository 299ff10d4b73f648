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
	"smelt.example/smelt/runtime/sampling"
)

// runOptions are the flags of `smelt run`.
type runOptions struct {
	prompt      string
	chat        bool
	noBOS, echo bool
	json        bool
	chatFlags
	modelFlags
}

func newRun(io stdio) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run CHECKPOINT|BUNDLE",
		Short: "Continue a text, or answer a message with --chat",
		Long: `Run continues a prompt from --prompt or from standard input (where one newline at
the end is left out), and streams the text to standard output. Counts and
speed go to standard error.

` + samplingHelp + `

A text ends at a token that config.json, generation_config.json or
tokenizer_config.json names, or before a --stop string.

With a BUNDLE, its checkpoint must not have moved, and the bundle's limits hold.
With a CHECKPOINT, run first compiles the kernels, with the defaults of smelt
compile.

` + devicesHelp() + `

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
	o.chatFlags.add(cmd, ", with --chat")
	o.modelFlags.add(cmd)
	f.BoolVar(&o.echo, "echo", false, "print the prompt before its continuation")
	f.BoolVar(&o.noBOS, "no-bos", false, "do not put the begin-of-sentence token before the prompt")
	f.BoolVar(&o.json, "json", false, "print one JSON object at the end instead of streaming text")
	completeWords(cmd, "prompt") // to nothing, and not to files
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
	m, err := o.start(cmd.Context(), io, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	r := runner{io: io, o: o, device: m.Device(), sampling: *request.Sampling}
	return inBundle(files.Bundle, r.run(cmd.Context(), m, request))
}

// request makes of flags and standard input what is asked of the model. All that
// may be wrong with it is found here, before a device is opened.
func (o *runOptions) request(cmd *cobra.Command, io stdio, files *lib.Files) (r lib.Request, err error) {
	if r, err = o.modelFlags.request(cmd, io, files); err != nil {
		return r, err
	}
	source := "--prompt"
	if !cmd.Flags().Changed("prompt") {
		source = "standard input"
		if o.prompt, err = promptFromInput(cmd.Context(), io.in); err != nil {
			return r, err
		}
	}
	if o.chat {
		said := conversation{system: o.system, think: o.think, effort: o.effort}
		said.say(o.prompt)
		r = said.ask(r)
	} else {
		r.Prompt, r.NoBOS = o.prompt, o.noBOS
	}
	end := io.wait("tokenizing")
	ids, err := files.Encode(r)
	end()
	if errors.Is(err, lib.ErrEmptyPrompt) {
		err = fmt.Errorf("the prompt is empty; give at least one character, or leave out --no-bos")
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", source, withoutChat(err, "without --chat"))
	}
	r.Prompt, r.Messages, r.Tokens = "", nil, ids // which need not be made again
	return r, nil
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
	case !o.think && cmd.Flags().Changed("effort"):
		return fmt.Errorf("--effort needs --think")
	case o.chat && o.noBOS:
		return fmt.Errorf("--no-bos contradicts --chat: the chat format begins with that token")
	case o.echo && o.json:
		return fmt.Errorf("--echo contradicts --json, whose text is the continuation alone")
	}
	return o.modelFlags.check()
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
	read := r.io.readingPrompt(m, &request, len(request.Tokens))
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
)

// runOptions are the flags of `smelt run`.
type runOptions struct {
	prompt       string
	promptTokens int // of it, with the chat format's

	chat        bool
	noBOS, echo bool
	json        bool
	texts       int // of the prompt
	slots       int // of them at once
	logProbs    int // tokens in the place of each; -1: no probabilities
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

With --chat the lines [reasoning] and [answer] mark the two where reasoning (--think)
cannot be dim; with --json they are apart in message. With --n texts come one after
another, [text 2] and so on before each; all but the first are in others with --json.

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
  smelt run CHECKPOINT --prompt "Once" --temp 0.8 --n 3
  smelt run CHECKPOINT --prompt "Once" --json --logprobs 2 | jq '.logprobs[0]'
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
	intFlag(f, &o.texts, "n", "", 1, textCounts, "texts of the prompt, with other random numbers each (-n is --max-tokens)")
	intFlag(f, &o.slots, "slots", "", 0, slotCounts, fmt.Sprintf("texts generated at once, with --n, each with memory of its own (default: all, at most %d, or the bundle's)", program.MaxDecodeRows))
	intFlag(f, &o.logProbs, "logprobs", "", -1, from(-1, maxLogProbs), "with --json, the probability of each token and of so many others in its place; -1 is off")
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
	o.open.Slots = o.atOnce(files.Bundle)
	m, err := startModel(cmd.Context(), io, files, o.open)
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
	if o.promptTokens = len(ids); !o.chat {
		r.Prompt, r.Tokens = "", ids // which need not be made again
	}
	r.LogProbs, r.Top = o.logProbs >= 0, max(o.logProbs, 0)
	return r, nil
}

// atOnce is how many texts share steps.
func (o *runOptions) atOnce(b *bundle.Bundle) int {
	most := program.MaxDecodeRows
	if b != nil {
		most = min(most, b.Plan.Slots)
	}
	if o.slots > 0 {
		most = o.slots // which a bundle may refuse
	}
	return min(o.texts, most)
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
	case o.logProbs >= 0 && !o.json:
		return fmt.Errorf("--logprobs needs --json, which has room for them")
	case !o.chat && o.hide:
		return fmt.Errorf("--hide-thinking needs --chat")
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

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
)

// chatOptions are the flags of `smelt chat`.
type chatOptions struct {
	chatFlags
	modelFlags
}

func newChat(io stdio) *cobra.Command {
	var o chatOptions
	cmd := &cobra.Command{
		Use:   "chat CHECKPOINT|BUNDLE",
		Short: "Talk with a model, turn by turn",
		Long: `Chat answers what you type, with all that was said before in view. Of a longer
conversation a turn reads what is new only, where the chat format allows it.

` + commandsHelp() + `
A line that begins with // is a text that begins with /. Several lines are one message
if they are pasted at once. If the model calls a tool (/tools), the call is shown, and
what you type next is its result.

Ctrl-C ends an answer, and what was said of it stays. At an empty prompt, pressed
twice, it ends the program with status 130; Ctrl-D and /quit end it with status 0.

Reasoning (--think) is dim on a terminal; elsewhere the lines [reasoning] and [answer]
mark the two, and [call] a call. Where standard input is no terminal, each line is a
turn, answers go to standard output and all else to standard error, and the status is
1 if a line had no answer.

` + samplingHelp + `

With a BUNDLE, its checkpoint must not have moved, and the bundle's limits hold.

` + devicesHelp(),
		Example: `  smelt chat CHECKPOINT
  smelt chat CHECKPOINT --system "Answer in one sentence." --temp 0.7
  smelt chat BUNDLE --think --effort high --hide-thinking
  echo "Why is the sky blue?" | smelt chat CHECKPOINT --max-tokens 400 > answer.txt`,
		Args:              oneModel,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return chatWith(cmd, io, args[0], o)
		},
	}
	cmd.Flags().SortFlags = false
	o.chatFlags.add(cmd, "")
	o.modelFlags.add(cmd)
	return cmd
}

func chatWith(cmd *cobra.Command, io stdio, path string, o chatOptions) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	files, err := openFiles(io, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	base, err := o.request(cmd, io, files)
	if err != nil {
		return err
	}
	t := newTalk(io, files, base, o)
	first := conversation{system: o.system, think: o.think, effort: o.effort}
	if err := t.change(first); err != nil {
		return withoutChat(err, "with smelt run")
	}
	if t.model, err = startModel(cmd.Context(), io, files, o.open); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.model.Close()) }()
	return t.run(cmd.Context())
}

// run talks until somebody ends it.
func (t *talk) run(ctx context.Context) error {
	ctx, t.quit = context.WithCancel(ctx)
	defer t.quit()
	defer takeInterrupts(ctx, t.interrupt)()
	t.greet()
	for {
		line, err := t.lines.line(ctx, t.prompt())
		if over, err := t.ends(err); over {
			return err
		}
		if err != nil {
			continue
		}
		t.press(false)
		if over, err := t.take(ctx, line); over || err != nil {
			return err
		}
	}
}

// newTalk is a conversation about to begin.
func newTalk(io stdio, files *lib.Files, base lib.Request, o chatOptions) *talk {
	t := &talk{io: io, files: files, base: base, hide: o.hide, lines: linesOf(io)}
	t.typed = isTerminal(io.in)
	return t
}

// greet says how tokens are picked, and what to type.
func (t *talk) greet() {
	how := fmt.Sprintf("temperature %g", t.base.Sampling.Temperature)
	if t.base.Sampling.Temperature > 0 {
		how += fmt.Sprintf(", seed %d", t.base.Sampling.Seed)
	}
	if t.typed {
		how += "; /help lists what there is, Ctrl-D ends"
	}
	t.note("device %s, %s", t.model.Device(), how)
}

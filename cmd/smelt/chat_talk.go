package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
	"smelt.example/smelt/internal/option"
)

// talk is a conversation between a person, or a pipe, and a model.
type talk struct {
	conversation
	io    stdio
	files *lib.Files
	model *lib.Model
	base  lib.Request // what all requests have
	hide  bool        // the reasoning
	lines lineReader
	typed bool // by a person, at a terminal

	last, total usage
	failed      bool // a line had no answer

	quit    context.CancelFunc // ends the program
	mu      sync.Mutex
	stop    context.CancelFunc // ends the answer; nil while there is none
	presses int                // of Ctrl-C at an empty prompt, one after another
}

// note tells what is no answer, dim on a terminal.
func (t *talk) note(format string, args ...any) {
	fmt.Fprintln(t.io.err, styleFor(t.io.err).dim(fmt.Sprintf(format, args...)))
}

// complain tells why a line did nothing.
func (t *talk) complain(err error) {
	t.failed = true
	fmt.Fprintf(t.io.err, "smelt: %s\n", option.Text(err, flagOf))
}

// prompt is shown where people type.
func (t *talk) prompt() string {
	text := "> "
	if tool := t.awaited(); tool != "" {
		text = "result of " + tool + "> "
	}
	return styleFor(t.io.out).bold(text)
}

// interrupt is told of each Ctrl-C that is no key of a line that is being typed. It ends the
// answer, if there is one.
func (t *talk) interrupt() {
	t.mu.Lock()
	stop := t.stop
	t.mu.Unlock()
	switch {
	case stop != nil:
		stop()
	case !t.typed || t.press(true) > 1:
		t.quit()
	}
}

// press counts Ctrl-C at an empty prompt, or begins to count anew.
func (t *talk) press(again bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.presses++; !again {
		t.presses = 0
	}
	return t.presses
}

// answering says how to end the answer that begins, nil at its end.
func (t *talk) answering(stop context.CancelFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = stop
}

// ends tells whether the error of a line ends the program, and with which error.
func (t *talk) ends(err error) (over bool, why error) {
	var key *interruptedLine
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &key):
		if t.press(key.empty) > 1 {
			return true, fmt.Errorf("%w, and %w", errInterrupted, errReported)
		}
		if key.empty {
			t.note("Ctrl-C once more ends, as does Ctrl-D")
		}
		return false, nil
	case !errors.Is(err, io.EOF):
		return true, err
	case t.failed && !t.typed:
		return true, errReported
	}
	return true, nil
}

// take does what a line asks for.
func (t *talk) take(ctx context.Context, line string) (over bool, err error) {
	switch {
	case strings.HasPrefix(line, "//"):
		line = line[1:]
	case strings.HasPrefix(line, "/"):
		return t.command(ctx, line)
	case strings.TrimSpace(line) == "" && t.awaited() == "":
		return false, nil
	}
	due, takeBack := t.say(line)
	if !due {
		return false, nil
	}
	return false, t.answer(ctx, takeBack)
}

// change makes another conversation this one, if it can go on.
func (t *talk) change(c conversation) error {
	try := c
	try.said = append(try.said[:len(try.said):len(try.said)], lib.Message{Role: lib.RoleUser, Content: "?"})
	if _, err := t.files.Encode(try.ask(t.base)); err != nil {
		return err
	}
	t.conversation = c
	return nil
}

// answer has the model answer. What it cannot answer is taken back.
func (t *talk) answer(ctx context.Context, takeBack func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.answering(stop)
	defer t.answering(nil)
	r := t.ask(t.base)
	g, read, err := t.begin(ctx, r)
	defer read()
	switch {
	case errors.Is(err, context.Canceled):
		t.notBegun(takeBack)
		return nil
	case err != nil:
		takeBack()
		t.complain(t.explain(err))
		return nil
	}
	if err = t.show(g, read); err != nil && !errors.Is(err, context.Canceled) {
		if step := new(*lib.StepError); errors.As(err, step) {
			err = (*step).Err // its steps say nothing here
		}
		return err
	}
	result, _ := g.Wait()
	if result.Reason == lib.StopCancelled && len(result.Tokens) == 0 {
		t.notBegun(takeBack)
		return nil
	}
	t.count(result)
	said, cut := wholeCalls(result)
	t.answered(said)
	t.remark(result)
	if cut {
		t.note("its last call was cut off, and is left out")
	}
	if t.typed && isTerminal(t.io.out) { // turns are told apart by a blank line
		fmt.Fprintln(t.io.out)
	}
	return nil
}

// notBegun takes a message back whose answer was interrupted before it began.
func (t *talk) notBegun(takeBack func()) {
	takeBack()
	t.failed = true
	t.note("interrupted; the answer had not begun, and your message is taken back")
}

// wholeCalls is an answer without a last call that was cut off, of which nobody has a result.
func wholeCalls(r lib.Result) (said lib.Message, cut bool) {
	said = r.Message
	n := len(said.ToolCalls)
	if n == 0 || r.Reason == lib.StopToken || pyjson.Valid(said.ToolCalls[n-1].Arguments) {
		return said, false
	}
	said.ToolCalls = said.ToolCalls[:n-1]
	return said, true
}

// begin begins an answer, and shows how far its prompt is read until read is called.
func (t *talk) begin(ctx context.Context, r lib.Request) (g *lib.Generation, read func(), err error) {
	ids, err := t.files.Encode(r)
	if err != nil {
		return nil, func() {}, err
	}
	read = t.io.readingPrompt(t.model, &r, len(ids))
	g, err = t.model.Generate(ctx, r)
	return g, read, err
}

// show prints an answer as it comes. read is called when its first piece is there.
func (t *talk) show(g *lib.Generation, read func()) (err error) {
	p := newAnswerPrinter(t.io.out, t.hide)
	shown := func() {}
	defer func() { shown() }()
	first := sync.OnceFunc(func() {
		read()
		if t.hide && t.think {
			shown = t.io.wait("thinking")
		}
	})
	for piece, e := range g.Answer() {
		if first(); e == nil {
			if piece.Reasoning == "" {
				shown()
			}
			e = p.print(piece)
		}
		if e != nil {
			err = e
			break
		}
	}
	read()
	shown()
	return errors.Join(err, p.end())
}

// remark says what there is to say of an answer.
func (t *talk) remark(r lib.Result) {
	if why := whyEnded(r, t.base.MaxTokens); why != "" {
		t.note("%s", why)
	}
	if r.Reason == lib.StopContext {
		t.note("the context of %s is full, and the answer ends here; %s", plural(t.model.Options().Context, "token"), t.room())
	}
	if r.Markup != nil {
		t.note("note: %v; what could be read of them is shown", r.Markup)
	}
}

// explain says what to do about a message that has no room.
func (t *talk) explain(err error) error {
	var long *lib.ContextError
	if !errors.As(err, &long) {
		return err
	}
	return fmt.Errorf("with this message the conversation has %s, and the context room for %d; the message is left out: %s", plural(long.More, "token"), long.Limit, t.room())
}

// room is what makes some in the context.
func (t *talk) room() string {
	text := "/undo takes back the last message and its answer, so that the conversation can go on"
	limit := t.model.Options().Context
	switch {
	case t.files.Bundle != nil && limit >= t.files.Bundle.Plan.Context && limit < t.files.Model.Context:
		text += fmt.Sprintf("; the bundle was compiled for at most %d, --context of smelt compile gives it more", limit)
	case limit < t.files.Model.Context:
		text += "; a larger --context gives the next one more"
	}
	return text
}

// tokens is how many the conversation has now.
func (t *talk) tokens() (int, error) {
	if len(t.said) == 0 {
		return 0, nil
	}
	tok, err := t.files.Tokenizer()
	if err != nil {
		return 0, err
	}
	o := chat.Options{Effort: t.effort}
	if t.think {
		o.Mode = chat.Thinking
	}
	ids, err := chat.Tokens(t.files.Model.Chat, t.messages(), o, tok)
	return len(ids), err
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/message"
)

// chatCommand is what a line that begins with / can ask for.
type chatCommand struct {
	name, args, doc string
	run             func(t *talk, ctx context.Context, arg string) error
}

// quitCommand ends the conversation.
const quitCommand = "/quit"

// chatCommands are all there are.
func chatCommands() []chatCommand {
	return []chatCommand{
		{"/help", "", "list these", (*talk).doHelp},
		{"/system", "TEXT", "set the system text; without one there is none", (*talk).doSystem},
		{"/think", "on|off", "let the model reason before it answers, or not", (*talk).doThink},
		{"/effort", "WORD", "how long it reasons; without a word as the format has it", (*talk).doEffort},
		{"/tools", "FILE", "show the model the tools of a JSON list; without a file none", (*talk).doTools},
		{"/undo", "", "take back your last message and all after it", (*talk).doUndo},
		{"/stats", "", "tokens read, reused and written, speed, room left", (*talk).doStats},
		{quitCommand, "", "end, as Ctrl-D does", nil},
	}
}

// commandsHelp has a line for each command.
func commandsHelp() string {
	var b strings.Builder
	for _, c := range chatCommands() {
		fmt.Fprintf(&b, "  %-15s%s\n", c.name+" "+c.args, c.doc)
	}
	return b.String()
}

// command does what a line asks for that begins with /.
func (t *talk) command(ctx context.Context, line string) (over bool, err error) {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	commands := chatCommands()
	i := slices.IndexFunc(commands, func(c chatCommand) bool { return c.name == name })
	switch {
	case i < 0:
		t.complain(noSuchCommand(name, commands))
	case commands[i].args == "" && arg != "":
		t.complain(fmt.Errorf("%s: found %s, expected nothing after it", name, message.Quote(arg)))
	case name == quitCommand && t.failed && !t.typed:
		return true, errReported
	case name == quitCommand:
		return true, nil
	default:
		if err := commands[i].run(t, ctx, arg); err != nil {
			t.complain(err)
		}
	}
	return false, nil
}

// noSuchCommand names the command that was probably meant.
func noSuchCommand(name string, commands []chatCommand) error {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	return fmt.Errorf("unknown command %s%s; /help lists all, and a text that begins with / is typed with //", message.Quote(name), message.Meant(name, names))
}

func (t *talk) doHelp(context.Context, string) error {
	t.note("%s", strings.TrimSuffix(commandsHelp(), "\n"))
	return nil
}

// readsAnew is what follows from a change at the beginning of a conversation.
func (t *talk) readsAnew() string {
	if len(t.said) == 0 {
		return ""
	}
	return "; the next answer has the conversation read anew"
}

func (t *talk) doSystem(_ context.Context, text string) error {
	c := t.conversation
	c.system = text
	if err := t.change(c); err != nil {
		return fmt.Errorf("/system: %w", err)
	}
	if text == "" {
		t.note("no system text%s", t.readsAnew())
	} else {
		t.note("system text: %s%s", message.Quote(text), t.readsAnew())
	}
	return nil
}

func (t *talk) doThink(_ context.Context, word string) error {
	if word != "on" && word != "off" {
		return fmt.Errorf("/think: found %s, expected on or off", message.Quote(word))
	}
	c := t.conversation
	c.think = word == "on"
	if err := t.change(c); err != nil {
		return fmt.Errorf("/think: %w", err)
	}
	t.note("thinking is %s", word)
	return nil
}

func (t *talk) doEffort(_ context.Context, word string) error {
	c := t.conversation
	c.effort = word
	if err := t.change(c); err != nil {
		return fmt.Errorf("/effort: %w", err)
	}
	text := "effort: the chat format's own"
	if word != "" {
		text = "effort: " + word
	}
	if !t.think {
		text += ", once /think is on"
	}
	t.note("%s", text)
	return nil
}

func (t *talk) doTools(ctx context.Context, path string) (err error) {
	c := t.conversation
	c.tools = nil
	if path != "" {
		if c.tools, err = readTools(ctx, path); err != nil {
			return err
		}
	}
	if err := t.change(c); err != nil {
		return fmt.Errorf("/tools: %w", err)
	}
	t.note("%s%s", plural(len(c.tools), "tool"), t.readsAnew())
	return nil
}

func (t *talk) doUndo(context.Context, string) error {
	text, ok := t.undo()
	if !ok {
		return fmt.Errorf("/undo: nothing was said yet")
	}
	t.note("taken back: %s", message.Quote(text))
	return nil
}

// usage is what answers took.
type usage struct {
	answers, prompt, reused, text int
	reading, writing              time.Duration
}

// count adds an answer to what answers took.
func (t *talk) count(r lib.Result) {
	t.last = usage{1, r.PromptTokens, r.ReusedTokens, len(r.Tokens), r.PromptTime, r.TextTime}
	t.total.answers++
	t.total.prompt += t.last.prompt
	t.total.reused += t.last.reused
	t.total.text += t.last.text
	t.total.reading += t.last.reading
	t.total.writing += t.last.writing
}

// String says it in words.
func (u usage) String() string {
	return fmt.Sprintf("prompt %s, %d of them reused\n  read %s\n  wrote %s",
		plural(u.prompt, "token"), u.reused, rate(u.prompt-u.reused, u.reading.Seconds()), rate(u.text, u.writing.Seconds()))
}

func (t *talk) doStats(context.Context, string) error {
	if t.total.answers > 1 {
		t.note("last answer: %s", t.last)
	}
	if t.total.answers > 0 {
		t.note("%s: %s", plural(t.total.answers, "answer"), t.total)
	}
	tokens, err := t.tokens()
	if err != nil {
		return err
	}
	limit := t.model.Options().Context
	tokens = min(tokens, limit) // the end of the last turn has no room in a full one
	t.note("context: %s of %s in use, %s left", grouped(tokens), plural(limit, "token"), grouped(limit-tokens))
	return nil
}

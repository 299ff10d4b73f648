package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// lineReader reads what is said, a line at a time. The error is io.EOF at the end, an
// *interruptedLine after Ctrl-C, and errInterrupted when ctx ends.
type lineReader interface {
	line(ctx context.Context, prompt string) (string, error)
}

// interruptedLine is Ctrl-C at a prompt.
type interruptedLine struct {
	empty bool // nothing had been typed
}

func (*interruptedLine) Error() string { return "interrupted at the prompt" }

// linesOf is how to read lines from a command's standard input: with an editor where people
// type and see what is said on terminals, else as they come.
func linesOf(io stdio) lineReader {
	in, typed := fileOf(io.in)
	if typed = typed && isTerminal(in); typed && isTerminal(io.out) && !isDumb() {
		screen, _ := fileOf(io.out)
		return &rawLines{in: in, screen: screen, editor: newLineEditor(in, io.out)}
	}
	scan := bufio.NewScanner(io.in)
	scan.Buffer(nil, maxTextBytes)
	return &plainLines{scan: scan, prompts: io.err, typed: typed}
}

// plainLines reads whole lines.
type plainLines struct {
	scan    *bufio.Scanner
	prompts io.Writer
	typed   bool // on a terminal, so that a prompt is due
}

func (p *plainLines) line(ctx context.Context, prompt string) (string, error) {
	if p.typed {
		fmt.Fprint(p.prompts, prompt)
	}
	return waitFor(ctx, func() (string, error) {
		if p.scan.Scan() {
			return p.scan.Text(), nil
		}
		err := p.scan.Err()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return "", fmt.Errorf("standard input: a line has more than %d MB; smelt reads no more than that", maxTextBytes>>20)
		case err != nil:
			return "", fmt.Errorf("standard input: %w", err)
		}
		return "", io.EOF
	})
}

// rawLines has a terminal give each key to an editor while a line is typed.
type rawLines struct {
	in, screen *os.File
	editor     *lineEditor
}

func (r *rawLines) line(ctx context.Context, prompt string) (string, error) {
	before, err := term.MakeRaw(int(r.in.Fd()))
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	r.marks(true)
	line, err := waitFor(ctx, func() (string, error) { return r.editor.read(prompt, columns(r.in)) })
	r.marks(false)
	return line, errors.Join(err, term.Restore(int(r.in.Fd()), before))
}

// marks has the terminal mark what is pasted, or no more. That is no text, after which a line
// of progress would wait for the end of its line.
func (r *rawLines) marks(on bool) {
	text := "\x1b[?2004l"
	if on {
		text = "\x1b[?2004h"
	}
	_, _ = io.WriteString(r.screen, text) // the next answer finds out if nothing can be written
}

// lineEditor edits lines with the keys of x/term's Terminal, and knows Ctrl-C from Ctrl-D,
// which that does not tell apart.
type lineEditor struct {
	keys     *keyReader
	out      io.Writer
	terminal *term.Terminal // nil: a new one is to be made
	history  term.History   // nil before the first
}

func newLineEditor(in io.Reader, out io.Writer) *lineEditor {
	return &lineEditor{keys: &keyReader{from: in}, out: out}
}

// continued is the prompt of a text's further lines, which come when several are pasted.
const continued = ". "

// read reads a line, or several that were pasted at once and the one that is typed after
// them.
func (e *lineEditor) read(prompt string, columns int) (string, error) {
	e.keys.typed = false
	var lines []string
	for {
		t := e.open(prompt, columns)
		line, err := t.ReadLine()
		switch {
		case err == nil:
			return strings.TrimRight(strings.Join(append(lines, line), "\n"), "\n"), nil
		case errors.Is(err, term.ErrPasteIndicator):
			lines, prompt = append(lines, line), continued
		default:
			return "", e.ended(err)
		}
	}
}

// open is the terminal, with a prompt.
func (e *lineEditor) open(prompt string, columns int) *term.Terminal {
	if e.terminal == nil {
		e.terminal = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{e.keys, e.out}, prompt)
		if e.history != nil {
			e.terminal.History = e.history
		}
		e.history = e.terminal.History
	}
	e.terminal.SetPrompt(prompt)
	_ = e.terminal.SetSize(columns, 1) // it writes nothing before the prompt
	return e.terminal
}

// ended says why there is no line. What was typed of it goes, and the terminal with it, which
// would see the same key again.
func (e *lineEditor) ended(err error) error {
	e.terminal = nil
	// A terminal that cannot be written to is found out by the next answer.
	if errors.Is(err, io.EOF) && e.keys.last == keyCtrlC {
		_, _ = io.WriteString(e.out, "^C\r\n")
		return &interruptedLine{empty: !e.keys.typed}
	}
	_, _ = io.WriteString(e.out, "\r\n")
	return err
}

// Keys that end a line.
const (
	keyCtrlC = 3
	keyCtrlD = 4
)

// keyReader gives what is typed up to the next Ctrl-C or Ctrl-D, and knows which it was.
type keyReader struct {
	from  io.Reader
	ahead []byte // read, and not given yet
	buf   [256]byte
	last  byte // the one that was given last
	typed bool // something but Ctrl-C
}

func (k *keyReader) Read(to []byte) (int, error) {
	if len(k.ahead) == 0 {
		n, err := k.from.Read(k.buf[:])
		if n == 0 {
			k.last = 0
			return 0, err
		}
		k.ahead = k.buf[:n]
	}
	n := min(len(to), len(k.ahead))
	if i := bytes.IndexAny(k.ahead[:n], string([]byte{keyCtrlC, keyCtrlD})); i >= 0 {
		n = i + 1
	}
	n = copy(to, k.ahead[:n])
	k.ahead = k.ahead[n:]
	if n > 0 {
		k.last = to[n-1]
		k.typed = k.typed || n > 1 || k.last != keyCtrlC
	}
	return n, nil
}

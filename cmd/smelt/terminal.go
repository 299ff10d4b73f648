package main

import (
	"os"

	"golang.org/x/term"
)

// isTerminal reports whether a stream of stdio is a terminal and not a file,
// a pipe or a buffer.
func isTerminal(stream any) bool {
	f, ok := fileOf(stream)
	return ok && term.IsTerminal(int(f.Fd()))
}

// fileOf is the file of a stream, seen through the reporter that writes to it.
func fileOf(stream any) (*os.File, bool) {
	if s, ok := stream.(*shared); ok {
		stream = s.to
	}
	f, ok := stream.(*os.File)
	return f, ok
}

// isDumb says that terminals cannot move their cursor, or are not to.
func isDumb() bool { return os.Getenv("TERM") == "dumb" }

// columns is the width of a terminal, 80 where it does not tell.
func columns(terminal *os.File) int {
	if width, _, err := term.GetSize(int(terminal.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// style marks text on terminals; elsewhere it leaves text as it is.
type style struct{ on bool }

// styleFor honours https://no-color.org and terminals that cannot.
func styleFor(stream any) style {
	return style{isTerminal(stream) && os.Getenv("NO_COLOR") == "" && !isDumb()}
}

// The numbers are SGR parameters of ECMA-48.
func (s style) bold(text string) string   { return s.with("1", text) }
func (s style) dim(text string) string    { return s.with("2", text) }
func (s style) yellow(text string) string { return s.with("33", text) }

func (s style) with(sgr, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

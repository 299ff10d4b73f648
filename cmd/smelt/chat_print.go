package main

import (
	"fmt"
	"io"
	"strings"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/message"
)

// answerPrinter prints an answer while it comes. On a terminal the reasoning is dim; where
// text has no style, lines mark what is what if there is reasoning.
type answerPrinter struct {
	out   io.Writer
	style style
	hide  bool // the reasoning
	lines wrapper

	part  answerPart
	ended bool // with a whole line
}

// newAnswerPrinter prints to a terminal as wide as it is now, or to something else.
func newAnswerPrinter(out io.Writer, hide bool) answerPrinter {
	p := answerPrinter{out: out, style: styleFor(out), hide: hide}
	if screen, ok := fileOf(out); ok && isTerminal(out) && !isDumb() {
		p.lines.width = columns(screen)
	}
	return p
}

// answerPart is what is being printed.
type answerPart int

const (
	partNone answerPart = iota
	partReasoning
	partContent
	partCall
)

// Marks of parts where text has no style. Lines of an answer may look like them; a program
// that must know takes --json.
const (
	markReasoning = "[reasoning]"
	markAnswer    = "[answer]"
	markCall      = "[call]"
)

// print prints a piece of an answer.
func (p *answerPrinter) print(piece lib.Message) error {
	var text strings.Builder
	if piece.Reasoning != "" && !p.hide {
		p.begin(&text, partReasoning)
		text.WriteString(p.style.dim(p.lines.wrap(piece.Reasoning)))
		p.ended = strings.HasSuffix(piece.Reasoning, "\n")
	}
	if piece.Content != "" {
		content := piece.Content
		if p.part == partReasoning && p.style.on { // the blank line is there already
			content = strings.TrimLeft(content, "\n")
		}
		if content != "" {
			p.begin(&text, partContent)
			text.WriteString(p.lines.wrap(content))
			p.ended = strings.HasSuffix(content, "\n")
		}
	}
	for _, call := range piece.ToolCalls {
		if call.Name != "" {
			p.line(&text)
			p.part = partCall
			text.WriteString(p.style.yellow(markCall+" "+call.Name) + " ")
		}
		text.WriteString(call.Arguments)
		p.ended = false
	}
	if text.Len() == 0 { // a write would take the line of progress away
		return nil
	}
	_, err := io.WriteString(p.out, text.String())
	return err
}

// begin begins a part, unless it is the one that is being printed.
func (p *answerPrinter) begin(text *strings.Builder, part answerPart) {
	if p.part == part {
		return
	}
	before := p.part
	p.line(text)
	switch {
	case part == partReasoning && !p.style.on:
		text.WriteString(markReasoning + "\n")
	case part == partContent && before == partReasoning && p.style.on:
		text.WriteString("\n")
	case part == partContent && before == partReasoning:
		text.WriteString(markAnswer + "\n")
	}
	p.part = part
	p.lines.begin()
}

// line ends the line that was begun.
func (p *answerPrinter) line(text *strings.Builder) {
	if p.part != partNone && !p.ended {
		text.WriteString("\n")
		p.ended = true
	}
}

// end ends the last line.
func (p *answerPrinter) end() error {
	var text strings.Builder
	p.lines = wrapper{width: p.lines.width}
	if p.part == partNone { // an answer is a line at least
		text.WriteString("\n")
	}
	p.line(&text)
	p.part = partNone
	_, err := io.WriteString(p.out, text.String())
	return err
}

// whyEnded is a note on an answer that its model did not end; "" if it did.
func whyEnded(r lib.Result, maxTokens int) string {
	switch r.Reason {
	case lib.StopLength:
		return fmt.Sprintf("the answer ends here after %s (--max-tokens)", plural(maxTokens, "token"))
	case lib.StopString:
		return "the answer ends before the --stop string " + message.Quote(r.StopString)
	case lib.StopCancelled:
		return "interrupted; what was said so far stays in the conversation, /undo takes it back"
	}
	return ""
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/runtime/sampling"
)

// runner carries the texts of a prompt from the request to the report.
type runner struct {
	io       stdio
	o        runOptions
	device   string
	sampling sampling.Params
}

// runOutput is a text with the probabilities of its tokens, if they were asked for.
type runOutput struct {
	lib.Result
	logProbs []runLogProb
}

func (r *runner) run(ctx context.Context, m *lib.Model, request lib.Request) error {
	read := r.io.readingPrompt(m, &request, r.o.promptTokens)
	defer read()
	var gens []*lib.Generation
	for i := range r.o.texts {
		request.Stream = uint64(i)
		g, err := m.Generate(ctx, request)
		if err != nil {
			return err
		}
		defer g.Stop() // the other texts, when one fails
		gens = append(gens, g)
	}
	var all []runOutput
	for i, g := range gens {
		out, err := r.text(m, i, g, read)
		all = append(all, out)
		if err != nil || i+1 == len(gens) {
			return r.finish(all, err)
		}
	}
	return nil
}

// text streams the i-th text. read is called when its first token is there.
func (r *runner) text(m *lib.Model, i int, g *lib.Generation, read func()) (out runOutput, err error) {
	echo := sync.OnceFunc(func() { err = r.begin(i) })
	if !isTerminal(r.io.out) { // where progress would have to stand in the prompt's line
		echo()
	}
	last := r.lastReport(r.o.promptTokens, r.sampling.Seed)
	if err == nil {
		err = last.publish()
	}
	count, counted := func() {}, func() {}
	first := sync.OnceFunc(func() {
		read()
		echo()
		count, counted = r.generating(m)
	})
	if e := r.stream(g, func() { first(); count() }, func(t lib.Token) error {
		out.note(m, r.o.logProbs, t)
		return last.add(t)
	}); err == nil {
		err = e
	}
	out.Result, _ = g.Wait()
	read()
	echo()
	counted()
	if step := new(*lib.StepError); errors.As(err, step) {
		err = (*step).Err // the command's texts have one prompt; its steps say nothing
	}
	if e := last.end(); err == nil {
		err = e
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = errors.Join(err, r.endLine(out.Text))
	}
	return out, err
}

// endLine ends a text's last line, but for an answer's, whose printer does.
func (r *runner) endLine(text string) error {
	if r.o.chat || strings.HasSuffix(text, "\n") {
		return nil
	}
	return r.write("\n")
}

// begin writes what stands before a text.
func (r *runner) begin(i int) error {
	if r.o.texts > 1 {
		if err := r.write(fmt.Sprintf("[text %d]\n", i+1)); err != nil {
			return err
		}
	}
	if !r.o.echo {
		return nil
	}
	return r.write(r.o.prompt)
}

// stream writes a text as it comes: an answer in its parts, else token by token. step is
// called before each piece, and token, with --json, for each token.
func (r *runner) stream(g *lib.Generation, step func(), token func(lib.Token) error) error {
	if r.o.chat && !r.o.json {
		p := newAnswerPrinter(r.io.out, r.o.hide)
		for piece, err := range g.Answer() {
			if step(); err == nil {
				err = p.print(piece)
			}
			if err != nil {
				return errors.Join(err, p.end())
			}
		}
		return p.end()
	}
	for piece, err := range g.Tokens() {
		if step(); err == nil {
			err = r.write(piece.Text)
		}
		if err == nil {
			err = token(piece)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// note keeps a token's probability, and those of others in its place.
func (out *runOutput) note(m *lib.Model, asked int, t lib.Token) {
	if asked < 0 || t.ID < 0 {
		return
	}
	p := runLogProb{oneLogProb(m, t.ID, t.LogProb), []tokenLogProb{}}
	for _, top := range t.Top {
		if !math.IsInf(top.LogProb, 0) { // which JSON cannot say
			p.Top = append(p.Top, oneLogProb(m, top.Token, top.LogProb))
		}
	}
	out.logProbs = append(out.logProbs, p)
}

func oneLogProb(m *lib.Model, id int32, p float64) tokenLogProb {
	text := ""
	if tok, err := m.Files().Tokenizer(); err == nil {
		text, _ = tok.Decode([]int32{id}) // "" of an id without a token
	}
	return tokenLogProb{id, strings.ToValidUTF8(text, "\ufffd"), p}
}

// write streams text.
func (r *runner) write(text string) error {
	if r.o.json {
		return nil
	}
	_, err := io.WriteString(r.io.out, text)
	return err
}

// printReport puts counts and speed on standard error.
func (r *runner) printReport(all []runOutput) {
	fmt.Fprintln(r.io.err)
	for i, out := range all {
		if len(all) > 1 {
			fmt.Fprintf(r.io.err, "text %d: ", i+1)
		}
		reason := string(out.Reason)
		if out.StopString != "" {
			reason += " " + message.Quote(out.StopString)
		}
		fmt.Fprintf(r.io.err, "prompt %s; text %s; stopped: %s\n", rate(out.PromptTokens, out.PromptTime.Seconds()), rate(len(out.Tokens), out.TextTime.Seconds()), reason)
	}
	seed := ""
	if r.sampling.Temperature > 0 {
		seed = fmt.Sprintf(", seed %d", r.sampling.Seed)
	}
	fmt.Fprintf(r.io.err, "device %s, temperature %g%s\n", r.device, r.sampling.Temperature, seed)
}

// rate writes a count with its speed.
func rate(tokens int, seconds float64) string {
	if tokens == 0 || seconds <= 0 {
		return plural(tokens, "token")
	}
	return fmt.Sprintf("%s in %.1f s (%.1f tokens/s)", plural(tokens, "token"), seconds, float64(tokens)/seconds)
}

// interruptedText tells whether one of the texts was.
func interruptedText(all []runOutput) bool {
	return slices.ContainsFunc(all, func(out runOutput) bool { return out.Reason == lib.StopCancelled })
}

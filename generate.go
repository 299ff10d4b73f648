package smelt

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"smelt.example/smelt/internal/runtime/scheduler"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/models/tokenizer"
	"smelt.example/smelt/runtime/sampling"
)

// ErrEmptyPrompt: a request has no token to go on from.
var ErrEmptyPrompt = errors.New("the prompt is empty; give at least one character, or let the begin-of-sentence token stand before it")

// Request asks for a text. It has one of Prompt, Messages and Tokens; the zero
// values of all else mean the defaults.
type Request struct {
	// Prompt is a text to continue.
	Prompt string
	// NoBOS leaves out the begin-of-sentence token before Prompt.
	NoBOS bool
	// Messages is a conversation to answer, in the model's chat format.
	Messages []Message
	// Think lets the model reason before it answers Messages, and Effort, if not empty,
	// says how long, by a word of its chat format.
	Think  bool
	Effort string
	// Tokens are a prompt's token ids, taken as they are.
	Tokens []int32
	// Head is how many of Tokens other prompts begin with, too: a system's message and tools.
	// What is kept of them serves all. Of Messages it is known.
	Head int

	// MaxTokens ends the text; 0 means when the model ends it or the context is full.
	MaxTokens int
	// Sampling picks the tokens; its zero value takes the most likely one. nil means
	// what Files.Suggested says, with a seed drawn anew.
	Sampling *sampling.Params
	// StopStrings end the text before the first of them. What may be the beginning of
	// one is held back. nil means those of the checkpoint's generation_config.json; an
	// empty list means none.
	StopStrings []string
	// Stream tells the random numbers of requests with the same seed apart.
	Stream uint64

	// LogProbs has the probability of each token of the text, and those of Top more
	// in its place.
	LogProbs bool
	Top      int
	// Progress, if not nil, is told how many tokens of the prompt are read, of how
	// many. The device waits for it.
	Progress func(done, total int)
}

// StopReason tells why a text ended.
type StopReason = session.StopReason

// Reasons for a text to end.
const (
	StopToken     = session.StopToken     // the model ended it
	StopString    = session.StopString    // the text came to one of its StopStrings
	StopLength    = session.StopLength    // MaxTokens were generated
	StopContext   = session.StopContext   // the context is full
	StopCancelled = session.StopCancelled // Stop was called, or the context.Context ended
)

// Token is a token of a text.
type Token struct {
	ID int32
	// Text is the token's addition to the text, in whole characters: "" where a later
	// token completes the character, or may complete a string that ends the text.
	Text string
	// LogProb is the natural logarithm of the token's probability, before temperature
	// and filters, and Top the most probable tokens in its place, best first. They are
	// zero unless the request asked for them.
	LogProb float64
	Top     []sampling.Probable
}

// Result is a finished text.
type Result struct {
	Text   string
	Tokens []int32 // all that were generated, those of StopString too
	Reason StopReason
	// StopString is the one of the request's that ended the text; "" if none did.
	StopString string
	// Message is Text taken apart, if it answers Messages: the reasoning, the answer
	// and, if a message declares tools, calls of those. Markup says where the calls
	// are not in the model's chat format, nil if they are; Message then has what could
	// be read. Give calls IDs before sending them back with their results.
	Message Message
	Markup  error
	// PromptTokens is how many tokens of the prompt were read, or need not be:
	// ReusedTokens of them were kept from texts before, which begin as the prompt does. Why
	// says why no more were. Where what is known goes on otherwise than the prompt, Known has
	// some of it, from the prompt's token KnownAt on, counted from 0.
	PromptTokens, ReusedTokens int
	Why                        string
	Known                      []int32
	KnownAt                    int
	// Sampling is how tokens were picked, the seed included.
	Sampling sampling.Params
	// PromptTime and TextTime are how long reading and generating took. Waiting for
	// a slot does not count.
	PromptTime, TextTime time.Duration
}

// Generate begins a text, or a wait for one of the model's slots. It fails with
// ErrBusy or ErrClosed, with an *OptionError, a *ContextError or ErrEmptyPrompt,
// and with ErrNoTokenizer or ErrNoChat. The end of ctx ends the text.
func (m *Model) Generate(ctx context.Context, r Request) (*Generation, error) {
	ids, head, err := m.files.encode(r)
	if err != nil {
		return nil, err
	}
	stop, err := m.files.Stop()
	if err != nil {
		return nil, err
	}
	how, err := m.sampling(r)
	if err != nil {
		return nil, err
	}
	allowed, err := m.files.allowed()
	if err != nil {
		return nil, err
	}
	tok, err := m.files.Tokenizer()
	if err != nil && !errors.Is(err, ErrNoTokenizer) {
		return nil, err
	}
	stops, err := m.files.stops(r, tok)
	if err != nil {
		return nil, err
	}
	request := scheduler.Request{Prompt: ids, Head: head, MaxTokens: r.MaxTokens, Sampling: how, Allowed: allowed, Stop: stop, Stream: r.Stream, Scores: r.LogProbs, Top: r.Top}
	if len(stops) > 0 {
		request.End = endsAt(tok, stops)
	}
	if r.Progress != nil {
		request.Progress = func(done int) { r.Progress(done, len(ids)) }
	}
	g, err := m.scheduler.Submit(ctx, request)
	if err != nil {
		return nil, err
	}
	return &Generation{ctx: ctx, tok: tok, chat: m.files.answer(r), sampling: how, stops: stops, gen: g}, nil
}

// endsAt is told a text's tokens, and returns true at the one that completes a string.
// A token without text ends nothing; whoever reads the text gets the error.
func endsAt(tok *tokenizer.Tokenizer, stops []string) func(token int32) bool {
	d := newDecoder(tok, stops)
	return func(token int32) bool {
		_, err := d.push(token)
		return err == nil && d.found() != ""
	}
}

// sampling is how a request's tokens are picked.
func (m *Model) sampling(r Request) (sampling.Params, error) {
	if r.Sampling != nil {
		return *r.Sampling, nil
	}
	h, err := m.files.hints()
	if err != nil {
		return sampling.Greedy(), err
	}
	p, err := h.sampling(h.params.Temperature > 0)
	p.Seed = rand.Uint64()
	return p, err
}

// LogProbs reads a prompt and returns its tokens from the second on, with the
// probability that the model gives each, and those of top more in its place. It
// generates nothing; of the request only the prompt counts.
func (m *Model) LogProbs(ctx context.Context, r Request, top int) ([]Token, error) {
	ids, err := m.files.Encode(r)
	if err != nil {
		return nil, err
	}
	g, err := m.scheduler.Submit(ctx, scheduler.Request{Prompt: ids, MaxTokens: 1, PromptScores: true, Top: top})
	if err != nil {
		return nil, err
	}
	if _, reason, err := g.Wait(); err != nil || reason == StopCancelled {
		return nil, errors.Join(err, ctx.Err())
	}
	tok, err := m.files.Tokenizer()
	if err != nil && !errors.Is(err, ErrNoTokenizer) {
		return nil, err
	}
	d := newDecoder(tok, nil)
	if _, err := d.push(ids[0]); err != nil {
		return nil, err
	}
	scores := g.Prompt().Scores
	tokens := make([]Token, len(scores))
	for i, s := range scores {
		text, err := d.push(ids[i+1])
		if err != nil {
			return nil, err
		}
		tokens[i] = Token{ids[i+1], text, s.LogProb, s.Top}
	}
	return tokens, nil
}

// Generation is a text on its way. What is generated is kept, so a slow reader
// holds up nobody. Its methods are safe for concurrent use.
type Generation struct {
	ctx      context.Context      // the caller's
	tok      *tokenizer.Tokenizer // nil if there is none
	chat     *answer              // nil if no messages are answered
	sampling sampling.Params
	stops    []string
	gen      *scheduler.Generation
}

// Stop ends the text where it is.
func (g *Generation) Stop() { g.gen.Cancel() }

// Text yields the text in pieces as it comes, from the beginning. An error ends it:
// that of the device, or ctx's; without a tokenizer it is an ErrNoTokenizer. Leaving
// the loop before stops the text.
func (g *Generation) Text() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if g.tok == nil {
			g.Stop()
			yield("", ErrNoTokenizer)
			return
		}
		for t, err := range g.Tokens() {
			if (t.Text != "" || err != nil) && !yield(t.Text, err) {
				return
			}
		}
	}
}

// Tokens is Text token by token. Text that the last tokens leave incomplete comes as
// a Token with an ID of -1. Without a tokenizer the tokens have no text.
func (g *Generation) Tokens() iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		d := newDecoder(g.tok, g.stops)
		for id, s := range g.gen.Scored() {
			text, err := d.push(id)
			if !yield(Token{id, text, s.LogProb, s.Top}, err) || err != nil {
				g.Stop()
				return
			}
		}
		if rest := d.flush(); rest != "" && !yield(Token{ID: -1, Text: rest}, nil) {
			return
		}
		if _, err := g.Wait(); err != nil {
			yield(Token{ID: -1}, err)
		}
	}
}

// Wait returns what the text comes to when it has ended. On an error, the device's
// or ctx's, the result has what came before. Stop is no error.
func (g *Generation) Wait() (Result, error) {
	tokens, reason, err := g.gen.Wait()
	if reason == StopCancelled && err == nil {
		err = g.ctx.Err()
	}
	r := Result{Tokens: tokens, Reason: reason, Sampling: g.sampling}
	prompt := g.gen.Prompt()
	r.PromptTokens, r.ReusedTokens, r.Why = prompt.Read, prompt.Reused, prompt.End.String()
	r.Known, r.KnownAt = prompt.End.Known, prompt.End.At
	r.PromptTime, r.TextTime = g.gen.Times()
	d := newDecoder(g.tok, g.stops)
	var text strings.Builder
	for _, id := range tokens {
		piece, e := d.push(id)
		if e != nil {
			r.Text = text.String()
			return r, errors.Join(err, e)
		}
		text.WriteString(piece)
	}
	text.WriteString(d.flush())
	r.Text, r.StopString = text.String(), d.found()
	if g.chat != nil {
		r.Message, r.Markup = g.chat.parse(g.tok, tokens, r)
		r.Message.Spellings = g.chat.spellings(g.tok, tokens, r.Message)
	}
	return r, err
}

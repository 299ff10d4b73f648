// Package turn has an engine answer a prompt and makes events of the tokens: pieces of
// reasoning, content and calls, and how each text ended. What is sent as a stream and
// what is sent as a whole is made of the same events.
package turn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/stopping"
	"smelt.example/smelt/runtime/sampling"
)

// Prompt is a prompt and how many tokens its answer may have.
type Prompt struct {
	engine.Prompt
	MaxTokens int
}

// Job is prompts and how to answer them.
type Job struct {
	Prompts []Prompt
	// Parse says how to take the answer apart; nil means that it is plain text, all of
	// it content.
	Parse *chat.ParseOptions
	// Choices is how many answers to give to each prompt, each with random numbers of its
	// own. In events those of the first prompt come first.
	Choices  int
	Sampling sampling.Params
	LogProbs bool
	Top      int
	// Stop are strings that end the content.
	Stop []string
	// OneCall ends the answer behind its first call of a tool.
	OneCall bool
}

// Texts is how many answers there will be.
func (j Job) Texts() int { return len(j.Prompts) * j.Choices }

// Reason says why a text ended.
type Reason int

const (
	Ended      Reason = iota + 1 // the model ended it
	StopString                   // its content came to a string to stop at
	Length                       // it may not be longer
	Calls                        // it ended with calls of tools
)

// Event is what one token, or the end, adds to an answer.
type Event struct {
	Choice int
	Deltas []chat.Delta
	// Tokens are those that the deltas came of, if they are reasoning or content.
	Tokens []engine.Step
	End    *End // of the choice; nothing of it follows
}

// End is how a choice ended.
type End struct {
	Reason     Reason
	StopString string // that ended it, for StopString
	Markup     error  // where its calls were not in the model's format, or nil
	Err        error  // what failed; there is no reason then
	Usage      Usage
	Times      Times
	// Tokens are those of a whole turn as the model wrote it; nil if it is not one, or
	// says more than the answer does.
	Tokens []int32
}

// Usage counts tokens.
type Usage struct {
	Prompt, Cached, Completion, Reasoning int
	Why                                   string // why no more were cached
	Known                                 []int32
	At                                    int // behind how many of the prompt's tokens Known are known
}

// Times are how long a text took.
type Times struct {
	First, Total   time.Duration // from its start to the first token and to the end
	Queued, Prompt time.Duration // as the engine has them
}

// Run is a job on its way.
type Run struct {
	events chan Event
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start begins a job. The error is the engine's; no text of the job is then left.
func Start(ctx context.Context, eng engine.Engine, j Job) (*Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &Run{events: make(chan Event), cancel: cancel}
	var texts []*text
	for i := range j.Texts() {
		p := j.Prompts[i/j.Choices]
		t, err := eng.Start(ctx, engine.Request{Tokens: p.IDs, Head: p.Head, MaxTokens: p.MaxTokens, Sampling: j.Sampling, Stream: uint64(i % j.Choices), LogProbs: j.LogProbs, Top: j.Top})
		if err != nil {
			cancel()
			for _, other := range texts {
				other.from.Result()
			}
			return nil, err
		}
		texts = append(texts, newText(eng.Model(), j, i, t))
	}
	for _, t := range texts {
		r.done.Go(func() { t.read(ctx, r.events) })
	}
	go func() {
		r.done.Wait()
		close(r.events)
	}()
	return r, nil
}

// Events are those of all choices, each in its order. They end when all choices have.
func (r *Run) Events() <-chan Event { return r.events }

// Stop ends what still runs and returns when nothing does.
func (r *Run) Stop() {
	r.cancel()
	r.done.Wait()
}

// text is one choice.
type text struct {
	from   engine.Text
	reader reader
	stop   *stopping.Stopper
	choice int
	one    bool // OneCall
	usage  Usage
	calls  int
	whole  bool // it was over before its tokens were
	begun  time.Time
	first  time.Duration
	held   []engine.Step // tokens that no delta came of yet
	ids    []int32       // all that were read
}

func newText(m *engine.Model, j Job, choice int, from engine.Text) *text {
	t := &text{from: from, choice: choice, one: j.OneCall, begun: time.Now(), stop: &stopping.Stopper{Strings: j.Stop}}
	t.usage.Prompt = len(j.Prompts[choice/j.Choices].IDs)
	t.reader = plain{m.Tokenizer.NewStream(false)}
	if j.Parse != nil {
		t.reader = m.Parser(*j.Parse)
	}
	return t
}

// read sends the text's events.
func (t *text) read(ctx context.Context, to chan<- Event) {
	send := func(e Event) bool {
		e.Choice = t.choice
		select {
		case to <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	failed := t.steps(send)
	send(Event{End: t.end(errors.Join(failed, ctx.Err()))})
}

// steps sends what the tokens make until the text is over. A bug below ends the text, not
// the server.
func (t *text) steps(send func(Event) bool) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = fmt.Errorf("a bug in smelt: %v\n%s", bug, debug.Stack())
		}
	}()
	for step, err := range t.from.Steps() {
		if err != nil {
			return err
		}
		e, err := t.push(step)
		if err != nil {
			return err
		}
		if len(e.Deltas) > 0 && !send(e) || t.over() {
			break
		}
	}
	t.whole = t.over()
	if e := t.rest(); len(e.Deltas) > 0 {
		send(e)
	}
	return nil
}

// over tells that nothing that follows counts.
func (t *text) over() bool {
	return t.stop.Found() != "" || t.reader.Done() || t.one && t.calls > 1
}

// push reads a token.
func (t *text) push(s engine.Step) (Event, error) {
	t.usage.Completion++
	t.ids = append(t.ids, s.ID)
	if t.first == 0 {
		t.first = time.Since(t.begun)
	}
	deltas, err := t.reader.Push(s.ID)
	if !t.reader.Control(s.ID) {
		t.held = append(t.held, s)
	}
	return t.event(deltas), err
}

// rest is what was held back at the end.
func (t *text) rest() Event {
	if t.stop.Found() != "" || t.one && t.calls > 1 {
		return Event{}
	}
	e := t.event(t.reader.End())
	if piece := t.stop.Flush(); piece != "" {
		e.Deltas = chat.Join(append(e.Deltas, chat.Delta{Kind: chat.DeltaContent, Text: piece}))
		e.Tokens, t.held = append(e.Tokens, t.held...), nil
	}
	return e
}

// event makes one of a reader's deltas: content up to a string to stop at, calls up to
// the first if it is to be the only one.
func (t *text) event(deltas []chat.Delta) (e Event) {
	for _, d := range deltas {
		if t.stop.Found() != "" {
			break
		}
		switch d.Kind {
		case chat.DeltaContent:
			d.Text = t.stop.Push(d.Text)
		case chat.DeltaCall:
			if held := t.stop.Flush(); held != "" { // no content comes behind it
				e.Deltas = append(e.Deltas, chat.Delta{Kind: chat.DeltaContent, Text: held})
			}
			t.calls++
		}
		if t.one && t.calls > 1 || d.Text == "" && d.Kind != chat.DeltaCall {
			continue
		}
		e.Deltas = append(e.Deltas, d)
	}
	t.attribute(&e)
	return e
}

// attribute gives an event the tokens that its text came of. Those of calls are nobody's.
func (t *text) attribute(e *Event) {
	if len(e.Deltas) == 0 {
		return
	}
	switch e.Deltas[0].Kind {
	case chat.DeltaReasoning:
		t.usage.Reasoning += len(t.held)
		e.Tokens = t.held
	case chat.DeltaContent:
		e.Tokens = t.held
	}
	t.held = nil
}

// end waits for the text's end and says what it came to.
func (t *text) end(err error) *End {
	result := t.from.Result()
	t.usage.Cached, t.usage.Why, t.usage.Known, t.usage.At = result.Cached, result.Why, result.Known, result.At
	e := &End{Err: err, Usage: t.usage, Markup: t.reader.Err()}
	e.Times = Times{First: t.first, Total: time.Since(t.begun), Queued: result.Queued, Prompt: result.Prompt}
	switch {
	case err != nil:
	case t.stop.Found() != "":
		e.Reason, e.StopString = StopString, t.stop.Found()
	case t.calls > 0 && (result.Ended || t.whole):
		e.Reason = Calls
	case result.Ended || t.whole:
		e.Reason = Ended
	default:
		e.Reason = Length
	}
	// Who is cut off in a call has not written one.
	if err == nil && e.Markup == nil && t.stop.Found() == "" && !(t.one && t.calls > 1) && !(e.Reason == Length && t.calls > 0) {
		e.Tokens = t.ids
	}
	return e
}

// String is the reason in a word.
func (r Reason) String() string {
	switch r {
	case Ended:
		return "end"
	case StopString:
		return "stop string"
	case Length:
		return "length"
	case Calls:
		return "calls"
	}
	return "error"
}

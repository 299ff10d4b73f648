// Package script has an engine for tests: it gives texts that are known beforehand, one
// token after the other, as a model would.
package script

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"smelt.example/smelt"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/live"
	"smelt.example/smelt/runtime/sampling"
)

// Engine replays texts.
type Engine struct {
	About *engine.Model
	// Reply gives the tokens of an answer. A last one that is End ends the text.
	Reply func(r engine.Request) []int32
	// Before, if not nil, is called before each token; its error ends the text.
	Before func(ctx context.Context, i int) error
	// End is the token that ends a text.
	End int32
	// Room is how many texts may run and wait; 0 means any number.
	Room int
	// Cached is what results say was kept of the prompt.
	Cached int

	mu   sync.Mutex
	open int
}

// Open makes an engine with the tokenizer and chat format of a checkpoint.
func Open(checkpoint string) (*Engine, error) {
	f, err := smelt.OpenFiles(checkpoint)
	if err != nil {
		return nil, err
	}
	about, err := live.Describe(f, "storyteller", smelt.Options{Context: f.Model.Context, Slots: 4, Queue: 64})
	if err == nil {
		about.Created = time.Unix(1700000000, 0)
	}
	ends, e := f.Stop()
	if err = errors.Join(err, e, f.Close()); err != nil {
		return nil, err
	}
	return &Engine{About: about, End: ends[0]}, nil
}

// Say has the engine answer with texts, one after the other and the last for ever, in
// which special tokens are special.
func (e *Engine) Say(texts ...string) error {
	var replies [][]int32
	for _, text := range texts {
		ids, err := e.About.Tokenizer.Encode(text)
		if err != nil {
			return err
		}
		replies = append(replies, ids)
	}
	var mu sync.Mutex
	e.Reply = func(engine.Request) []int32 {
		mu.Lock()
		defer mu.Unlock()
		ids := replies[0]
		if len(replies) > 1 {
			replies = replies[1:]
		}
		return ids
	}
	return nil
}

// Model is the model as clients see it.
func (e *Engine) Model() *engine.Model { return e.About }

// Running is how many texts have begun and not ended.
func (e *Engine) Running() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open
}

// Start begins a text.
func (e *Engine) Start(ctx context.Context, r engine.Request) (engine.Text, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Room > 0 && e.open >= e.Room {
		return nil, engine.ErrBusy
	}
	e.open++
	t := &text{engine: e, ctx: ctx, request: r, tokens: e.Reply(r), done: make(chan struct{})}
	return t, nil
}

// Score gives every token the same probability.
func (e *Engine) Score(_ context.Context, tokens []int32, top int) ([]engine.Score, error) {
	scores := make([]engine.Score, len(tokens)-1)
	for i := range scores {
		scores[i] = engine.Score{LogProb: -1, Top: probable(tokens[i+1], top)}
	}
	return scores, nil
}

// Cache counts nothing.
func (*Engine) Cache() engine.Cache { return engine.Cache{} }

// probable is a token and those behind it in the vocabulary.
func probable(id int32, top int) (list []sampling.Probable) {
	for i := range top {
		list = append(list, sampling.Probable{Token: id + int32(i), LogProb: -1 - float64(i)})
	}
	return list
}

// text is an engine.Text. The engine goes on only while somebody reads, and ends where
// the reader does.
type text struct {
	engine  *Engine
	ctx     context.Context
	request engine.Request
	tokens  []int32
	once    sync.Once
	done    chan struct{}
	ended   bool
}

func (t *text) over() {
	t.once.Do(func() {
		t.engine.mu.Lock()
		t.engine.open--
		t.engine.mu.Unlock()
		close(t.done)
	})
}

// Steps yields the tokens.
func (t *text) Steps() iter.Seq2[engine.Step, error] {
	return func(yield func(engine.Step, error) bool) {
		defer t.over()
		for i, id := range t.tokens {
			if t.engine.Before != nil {
				if err := t.engine.Before(t.ctx, i); err != nil {
					yield(engine.Step{}, err)
					return
				}
			}
			if t.ctx.Err() != nil || i >= t.request.MaxTokens {
				return
			}
			if id == t.engine.End {
				t.ended = true
				return
			}
			step := engine.Step{ID: id}
			if t.request.LogProbs {
				step.LogProb, step.Top = -1, probable(id, t.request.Top)
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Result waits for the end, which the end of the text's context is too.
func (t *text) Result() engine.Result {
	select {
	case <-t.done:
	case <-t.ctx.Done():
		t.over()
	}
	return engine.Result{Ended: t.ended, Cached: t.engine.Cached, Why: "the test says so"}
}

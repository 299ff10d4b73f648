// Package live has the server's engine that runs a model.
package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"smelt.example/smelt"
	"smelt.example/smelt/internal/server/engine"
)

// Describe says of a model's files what clients get to know. o are the options that the
// model is opened with, complete.
func Describe(f *smelt.Files, id string, o smelt.Options) (*engine.Model, error) {
	tok, err := f.Tokenizer()
	if err != nil {
		return nil, err
	}
	suggested, err := f.Suggested()
	if err != nil {
		return nil, err
	}
	stop, err := f.StopStrings()
	if err != nil {
		return nil, err
	}
	m := &engine.Model{
		ID: id, Created: time.Now(), Context: o.Context, Slots: o.Slots, Texts: o.Slots + max(o.Queue, 0), Vocab: f.Model.VocabSize,
		Format: f.Model.Chat, Tokenizer: tok, WithBOS: f.Model.WithBOS, Suggested: suggested, Stop: stop,
	}
	m.Measure()
	return m, nil
}

// Engine runs an open model.
type Engine struct {
	model *smelt.Model
	about *engine.Model
}

// New makes the engine of a model, known by id.
func New(m *smelt.Model, id string) (*Engine, error) {
	about, err := Describe(m.Files(), id, m.Options())
	if err != nil {
		return nil, err
	}
	return &Engine{m, about}, nil
}

// Model is the model as clients see it.
func (e *Engine) Model() *engine.Model { return e.about }

// Start begins a text.
func (e *Engine) Start(ctx context.Context, r engine.Request) (engine.Text, error) {
	how := r.Sampling
	t := &text{begun: time.Now()}
	g, err := e.model.Generate(ctx, smelt.Request{
		Tokens: r.Tokens, Head: r.Head, MaxTokens: r.MaxTokens, Sampling: &how, Stream: r.Stream, LogProbs: r.LogProbs, Top: r.Top,
		StopStrings: []string{}, // the server finds them, in content only
	})
	if err != nil {
		return nil, translated(err)
	}
	t.generation = g
	return t, nil
}

// translated puts the model's errors into the server's terms.
func translated(err error) error {
	switch {
	case errors.Is(err, smelt.ErrBusy):
		return fmt.Errorf("%w: %w", engine.ErrBusy, err)
	case errors.Is(err, smelt.ErrClosed):
		return fmt.Errorf("%w: %w", engine.ErrClosed, err)
	}
	return err
}

// text is an engine.Text.
type text struct {
	generation *smelt.Generation
	begun      time.Time
}

// Steps yields the tokens as they come.
func (t *text) Steps() iter.Seq2[engine.Step, error] {
	return func(yield func(engine.Step, error) bool) {
		for token, err := range t.generation.Tokens() {
			if err == nil && token.ID < 0 { // the end of an incomplete character
				continue
			}
			if err != nil {
				err = translated(err)
			}
			if !yield(engine.Step{ID: token.ID, LogProb: token.LogProb, Top: token.Top}, err) || err != nil {
				return
			}
		}
	}
}

// Result waits for the text's end.
func (t *text) Result() engine.Result {
	r, err := t.generation.Wait()
	queued := time.Since(t.begun) - r.PromptTime - r.TextTime
	return engine.Result{
		Ended: err == nil && r.Reason == smelt.StopToken, Cached: r.ReusedTokens, Why: r.Why, Known: r.Known, At: r.KnownAt,
		Queued: max(queued, 0), Prompt: r.PromptTime,
	}
}

// Cache counts what was kept, and of what use it was.
func (e *Engine) Cache() engine.Cache {
	c := e.model.Cache()
	return engine.Cache{
		Bytes: c.Bytes, Room: c.Room, Pages: c.Pages, Frontiers: c.Frontiers, Hits: c.HitsByKind(), Reused: c.Reused, Ends: c.EndsByReason(),
		Evictions: c.Evictions, Refused: c.Refused, Dropped: c.Dropped, Restoring: c.Restoring,
	}
}

// Score gives the probabilities of a prompt's tokens from the second on.
func (e *Engine) Score(ctx context.Context, tokens []int32, top int) ([]engine.Score, error) {
	list, err := e.model.LogProbs(ctx, smelt.Request{Tokens: tokens}, top)
	if err != nil {
		return nil, translated(err)
	}
	scores := make([]engine.Score, len(list))
	for i, t := range list {
		scores[i] = engine.Score{LogProb: t.LogProb, Top: t.Top}
	}
	return scores, nil
}

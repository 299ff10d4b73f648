package live

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt"
	"smelt.example/smelt/internal/server/engine"
)

// TestEngine: a model behind the server's interface: tokens, ends, no room, and the end.
func TestEngine(t *testing.T) {
	m, err := smelt.Open(t.Context(), "../../../examples/storyteller/checkpoint", smelt.Options{Device: "reference", Context: 64, Queue: -1})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			m.Close()
		}
	}()
	e, err := New(m, "teller")
	if err != nil {
		t.Fatal(err)
	}
	about := e.Model()
	if about.ID != "teller" || about.Context != 64 || about.Slots != 1 || about.Suggested.Temperature != 0.7 {
		t.Errorf("%+v", about)
	}
	ids, err := about.Encode("Once upon a", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := engine.Request{Tokens: about.WithBOS(ids), MaxTokens: 40, LogProbs: true, Top: 1}
	running, err := e.Start(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(ctx, r); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("a second text in one slot: %v", err)
	}
	var text strings.Builder
	n := 0
	for step, err := range running.Steps() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; step.LogProb >= 0 || len(step.Top) != 1 || step.Top[0].Token != step.ID {
			t.Errorf("%+v", step)
		}
		text.WriteString(about.Spell(step.ID))
		if n == 2 {
			break
		}
	}
	if text.String() != " time," {
		t.Errorf("%q", text.String())
	}
	cancel()
	if result := running.Result(); result.Ended || result.Prompt <= 0 || result.Cached != 0 || result.Why == "" {
		t.Errorf("%+v", result)
	}
	more, err := about.Encode(text.String()+" there was", false)
	if err != nil {
		t.Fatal(err)
	}
	next, err := e.Start(t.Context(), engine.Request{Tokens: slices.Concat(r.Tokens, more), MaxTokens: 1})
	if err != nil {
		t.Fatal(err)
	}
	if result := next.Result(); result.Cached < len(r.Tokens) || result.Cached > len(r.Tokens)+2 {
		t.Errorf("what goes on with the text in the slot: %+v; %d tokens were read before", result, len(r.Tokens))
	}
	scores, err := e.Score(t.Context(), r.Tokens, 1)
	if err != nil || len(scores) != len(r.Tokens)-1 || scores[2].LogProb > -1e-9 {
		t.Errorf("%v, %v", scores, err)
	}
	closed = true
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Start(t.Context(), r); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

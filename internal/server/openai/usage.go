package openai

import (
	"strings"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// usage counts tokens, with DeepSeek's own two names at the end.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
	OfPrompt   struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	OfCompletion struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Hit  int `json:"prompt_cache_hit_tokens"`
	Miss int `json:"prompt_cache_miss_tokens"`
}

// usageOf adds up choices. They have one prompt.
func usageOf(all []turn.Usage) *usage {
	u := &usage{}
	for i, x := range all {
		if i == 0 {
			u.Prompt, u.Hit = x.Prompt, x.Cached
		}
		u.Completion += x.Completion
		u.OfCompletion.Reasoning += x.Reasoning
	}
	u.Total, u.Miss = u.Prompt+u.Completion, u.Prompt-u.Hit
	u.OfPrompt.Cached = u.Hit
	return u
}

// logProbs are the probabilities of a choice's tokens.
type logProbs struct {
	Content   []probability `json:"content"`
	Reasoning []probability `json:"reasoning_content,omitempty"`
}

func (l *logProbs) add(more *logProbs) {
	if more != nil {
		l.Content, l.Reasoning = append(l.Content, more.Content...), append(l.Reasoning, more.Reasoning...)
	}
}

// probability is that of one token.
type probability struct {
	probable
	Top []probable `json:"top_logprobs"`
}

type probable struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	// Bytes are null for a token that is no whole character.
	Bytes []int `json:"bytes"`
}

// probabilities are those of an event's tokens; nil if it has none.
func (w *chatWriter) probabilities(kind chat.DeltaKind, e turn.Event) *logProbs {
	if len(e.Tokens) == 0 {
		return nil
	}
	var list []probability
	m := w.call.Engine.Model()
	for _, t := range e.Tokens {
		p := probability{probable: probableOf(m, t.ID, t.LogProb), Top: []probable{}}
		for _, other := range t.Top {
			p.Top = append(p.Top, probableOf(m, other.Token, other.LogProb))
		}
		list = append(list, p)
	}
	if kind == chat.DeltaReasoning {
		return &logProbs{Reasoning: list}
	}
	return &logProbs{Content: list}
}

func probableOf(m *engine.Model, id int32, logProb float64) probable {
	p := probable{Token: m.Spell(id), LogProb: api.Finite(logProb)}
	if !strings.Contains(p.Token, "\uFFFD") {
		p.Bytes = []int{}
		for _, b := range []byte(p.Token) {
			p.Bytes = append(p.Bytes, int(b))
		}
	}
	return p
}

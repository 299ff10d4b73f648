package openai

import (
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
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
	Content   []api.Probability `json:"content"`
	Reasoning []api.Probability `json:"reasoning_content,omitempty"`
}

func (l *logProbs) add(more *logProbs) {
	if more != nil {
		l.Content, l.Reasoning = append(l.Content, more.Content...), append(l.Reasoning, more.Reasoning...)
	}
}

// probabilities are those of an event's tokens; nil if it has none.
func (w *chatWriter) probabilities(kind chat.DeltaKind, e turn.Event) *logProbs {
	if len(e.Tokens) == 0 {
		return nil
	}
	list := api.Probabilities(w.call.Engine.Model(), e.Tokens)
	if kind == chat.DeltaReasoning {
		return &logProbs{Reasoning: list}
	}
	return &logProbs{Content: list}
}

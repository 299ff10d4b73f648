package openai

import (
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// completionRequest is the body of a completion.
type completionRequest struct {
	Model     string  `json:"model"`
	Prompt    prompts `json:"prompt"`
	MaxTokens *int64  `json:"max_tokens"`
	sampling
	LogProbs *int64 `json:"logprobs"`
	Echo     bool   `json:"echo"`
	Suffix   string `json:"suffix"`
	BestOf   *int64 `json:"best_of"`
	// Special has special tokens in the prompt count as such.
	Special bool `json:"special"`
}

// prompts are texts or tokens, one or several.
type prompts struct {
	texts  []string
	tokens [][]int32
}

// UnmarshalJSONFrom reads a text, texts, tokens or lists of tokens.
func (p *prompts) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	*p = prompts{} // of a name that comes twice the last counts
	text, ids := "", []int32(nil)
	switch {
	case json.Unmarshal(value, &text, d.Options()) == nil:
		p.texts = []string{text}
	case string(value) == "[]":
	case json.Unmarshal(value, &p.texts, d.Options()) == nil:
	case json.Unmarshal(value, &ids, d.Options()) == nil:
		p.texts, p.tokens = nil, [][]int32{ids}
	case json.Unmarshal(value, &p.tokens, d.Options()) == nil:
		p.texts = nil
	default:
		return &api.Error{Status: http.StatusBadRequest, Message: "expected a string, a list of strings, a list of token ids or a list of such lists"}
	}
	return nil
}

// Limits of completions.
const (
	maxPrompts       = 256
	defaultMaxTokens = 16 // OpenAI's
)

// prepare makes tokens of the prompts.
func (r *completionRequest) prepare(c *api.Call) (list []engine.Prompt, err error) {
	m := c.Engine.Model()
	if n := len(r.Prompt.texts) + len(r.Prompt.tokens); n < 1 || n > maxPrompts {
		return nil, api.Invalid("prompt", "found %d of them, expected 1 to %d", n, maxPrompts)
	}
	for _, text := range r.Prompt.texts {
		if err := c.MayFit(len(text)); err != nil {
			return nil, err
		}
		ids, err := m.Encode(text, r.Special)
		if err != nil {
			return nil, err
		}
		list = append(list, engine.Prompt{IDs: m.WithBOS(ids), Text: text})
	}
	for i, ids := range r.Prompt.tokens {
		if err := m.Check(ids); err != nil {
			return nil, api.Invalid(fmt.Sprintf("prompt[%d]", i), "%v", err)
		}
		text, err := m.Tokenizer.Decode(ids)
		if err != nil {
			return nil, api.Invalid(fmt.Sprintf("prompt[%d]", i), "%v", err)
		}
		list = append(list, engine.Prompt{IDs: ids, Text: text})
	}
	for i, p := range list {
		if len(p.IDs) == 0 {
			return nil, api.Invalid("prompt", "number %d is empty, expected one token or more", i+1)
		}
	}
	return list, nil
}

// job is what the model is to do. Without any token to generate it has no texts.
func (r *completionRequest) job(c *api.Call) (j turn.Job, list []engine.Prompt, err error) {
	if err = c.Resolve(r.Model); err != nil {
		return j, nil, err
	}
	if list, err = r.prepare(c); err != nil {
		return j, nil, err
	}
	if err = r.apply(c, &j, false); err != nil {
		return j, nil, err
	}
	switch {
	case r.Suffix != "":
		return j, nil, api.Invalid("suffix", "found a text; the model was not made to fill gaps, leave it out")
	case r.BestOf != nil && *r.BestOf != int64(j.Choices):
		return j, nil, api.Invalid("best_of", "found %d, expected n, which is %d", *r.BestOf, j.Choices)
	case r.LogProbs != nil && (*r.LogProbs < 0 || *r.LogProbs > 20):
		return j, nil, api.Invalid("logprobs", "found %d, expected 0 to 20", *r.LogProbs)
	}
	if r.LogProbs != nil {
		j.LogProbs, j.Top = true, int(*r.LogProbs)
	}
	most := int64(defaultMaxTokens)
	if r.MaxTokens != nil {
		most = *r.MaxTokens
	}
	if most == 0 && r.Echo {
		return j, list, r.fit(c, list)
	}
	if most := c.Engine.Model().Texts; len(list)*j.Choices > most {
		return j, nil, api.Invalid("prompt", "found %d of them with %d choices each, expected at most %d texts, as many as may run and wait", len(list), j.Choices, most)
	}
	for _, p := range list {
		room, err := c.Room(len(p.IDs), "max_tokens", &most)
		if err != nil {
			return j, nil, err
		}
		j.Prompts = append(j.Prompts, turn.Prompt{Prompt: p, MaxTokens: room})
	}
	return j, list, nil
}

// fit checks prompts that nothing is to follow.
func (r *completionRequest) fit(c *api.Call, list []engine.Prompt) error {
	context := c.Engine.Model().Context
	for _, p := range list {
		if len(p.IDs) > context {
			return api.TooLong(len(p.IDs), 0, context)
		}
	}
	return nil
}

// Completions answers POST /v1/completions.
func Completions(c *api.Call) error {
	var r completionRequest
	if err := c.Decode(&r); err != nil {
		return err
	}
	job, list, err := r.job(c)
	if err != nil {
		return err
	}
	w := &completionWriter{call: c, usage: r.StreamOptions.IncludeUsage, logProbs: r.LogProbs != nil, echo: r.Echo}
	w.head = head{ID: api.NewID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: c.Model}
	for _, p := range list {
		first := &completionChoice{usage: turn.Usage{Prompt: len(p.IDs)}}
		if r.Echo {
			if err := w.begin(first, p, job.Top); err != nil {
				return err
			}
		}
		for range job.Choices {
			w.choices = append(w.choices, first.another())
		}
	}
	w.perPrompt = job.Choices
	return c.Answer(job, r.Stream, w)
}

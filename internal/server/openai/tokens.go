package openai

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
)

// tokenizeRequest is the body of a chat completion, or a text.
type tokenizeRequest struct {
	Prompt  *string `json:"prompt"`
	Content *string `json:"content"` // llama.cpp's name for it
	// Special has special tokens in the text count as such.
	Special bool `json:"special"`
	// AddSpecial puts the begin-of-sentence token before the text; a prompt has it unless
	// it says otherwise.
	AddSpecial *bool `json:"add_special_tokens"`
}

// rendered is a prompt as people and programs see it.
type rendered struct {
	Prompt  string   `json:"prompt"`
	Special [][2]int `json:"special"` // byte ranges of special tokens
	Tokens  []int32  `json:"tokens,omitzero"`
	Count   int      `json:"count"`
	Context int      `json:"max_model_len"`
}

func renderedOf(c *api.Call, p engine.Prompt, tokens bool) rendered {
	r := rendered{Prompt: p.Text, Special: p.Special, Count: len(p.IDs), Context: c.Engine.Model().Context}
	if tokens {
		r.Tokens = p.IDs
	}
	return r
}

// chatPrompt lays out the conversation of a body.
func chatPrompt(c *api.Call, body []byte) (engine.Prompt, error) {
	var r chatRequest
	if err := api.Decode(body, &r); err != nil {
		return engine.Prompt{}, err
	}
	_, prompt, err := r.prompt(c, c.Render)
	return prompt, err
}

// Tokenize answers POST /tokenize: the prompt of a chat request, or of a text, with its
// tokens.
func Tokenize(c *api.Call) error {
	var body jsontext.Value
	if err := c.Decode(&body); err != nil {
		return err
	}
	var r tokenizeRequest
	if err := api.Decode(body, &r); err != nil {
		return err
	}
	var p engine.Prompt
	var err error
	if r.Prompt == nil && r.Content == nil {
		p, err = chatPrompt(c, body)
	} else {
		p, err = r.prompt(c.Engine.Model())
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, renderedOf(c, p, true))
}

func (r *tokenizeRequest) prompt(m *engine.Model) (p engine.Prompt, err error) {
	begin := r.Prompt != nil
	if r.AddSpecial != nil {
		begin = *r.AddSpecial
	}
	text := r.Prompt
	if text == nil {
		text = r.Content
	}
	ids, err := m.Encode(*text, r.Special)
	if begin {
		ids = m.WithBOS(ids)
	}
	return engine.Prompt{IDs: ids, Text: *text, Special: [][2]int{}}, err
}

// ApplyTemplate answers POST /apply-template: the prompt of a chat request.
func ApplyTemplate(c *api.Call) error {
	var body jsontext.Value
	if err := c.Decode(&body); err != nil {
		return err
	}
	p, err := chatPrompt(c, body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, renderedOf(c, p, false))
}

// Detokenize answers POST /detokenize: the text of tokens.
func Detokenize(c *api.Call) error {
	var r struct {
		Tokens []int32 `json:"tokens"`
	}
	if err := c.Decode(&r); err != nil {
		return err
	}
	m := c.Engine.Model()
	if err := m.Check(r.Tokens); err != nil {
		return api.Invalid("tokens", "%v", err)
	}
	text, err := m.Tokenizer.Decode(r.Tokens)
	if err != nil {
		return api.Invalid("tokens", "%v", err)
	}
	return c.JSON(http.StatusOK, struct {
		Prompt  string `json:"prompt"`
		Content string `json:"content"` // llama.cpp's name for it
	}{text, text})
}

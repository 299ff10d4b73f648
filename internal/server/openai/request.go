// Package openai has the protocols of OpenAI's chat completions and completions, with
// DeepSeek's additions.
package openai

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// sampling are the fields of both protocols about picking tokens.
type sampling struct {
	Temperature   *float64 `json:"temperature"`
	TopP          *float64 `json:"top_p"`
	TopK          *int64   `json:"top_k"`
	MinP          *float64 `json:"min_p"`
	Seed          *int64   `json:"seed"`
	Presence      *float64 `json:"presence_penalty"`
	Frequency     *float64 `json:"frequency_penalty"`
	Repetition    *float64 `json:"repetition_penalty"`
	Bias          biases   `json:"logit_bias"`
	Stop          stops    `json:"stop"`
	N             *int64   `json:"n"`
	Stream        bool     `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// stops are a string or several.
type stops []string

// UnmarshalJSONFrom reads either.
func (s *stops) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return api.ReadList(d, (*[]string)(s), func(text string) string { return text })
}

// biases are what is added to logits, by token ids in decimal.
type biases map[string]float64

// byID are those that are not 0, of a model's tokens.
func (b biases) byID(m *engine.Model) (map[int32]float64, error) {
	if len(b) > pick.MaxBiases {
		return nil, api.Invalid("logit_bias", "found %d tokens, expected at most %d", len(b), pick.MaxBiases)
	}
	byID := map[int32]float64{}
	for _, name := range slices.Sorted(maps.Keys(b)) { // of several errors always the same
		id, err := strconv.ParseUint(name, 10, 31)
		switch bias := b[name]; {
		case err != nil || int(id) >= m.Vocab || strconv.FormatUint(id, 10) != name:
			return nil, api.Invalid("logit_bias", "found token %.20q, expected an id from 0 to %d", name, m.Vocab-1)
		case !(math.Abs(bias) <= pick.MaxBias):
			return nil, api.Invalid("logit_bias", "found %v for token %d, expected -%d to %d", bias, id, pick.MaxBias, pick.MaxBias)
		case bias != 0:
			byID[int32(id)] = bias
		}
	}
	return byID, nil
}

// apply puts the fields into a job.
func (s *sampling) apply(c *api.Call, j *turn.Job, thinkingTools bool) (err error) {
	own := api.Sampling{Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK, MinP: s.MinP, Seed: s.Seed, Presence: s.Presence, Frequency: s.Frequency, Repetition: s.Repetition}
	if j.Sampling, err = c.Pick(own, thinkingTools); err != nil {
		return err
	}
	if j.Sampling.Bias, err = s.Bias.byID(c.Engine.Model()); err != nil {
		return err
	}
	if j.Stop, err = c.Stops("stop", s.Stop); err != nil {
		return err
	}
	j.Choices = 1
	if s.N != nil {
		if most := int64(c.Engine.Model().Slots); *s.N < 1 || *s.N > most {
			return api.Invalid("n", "found %d, expected 1 to %d, the server's slots", *s.N, most)
		}
		j.Choices = int(*s.N)
	}
	return nil
}

// chatRequest is the body of a chat completion.
type chatRequest struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	MaxTokens           *int64    `json:"max_tokens"`
	MaxCompletionTokens *int64    `json:"max_completion_tokens"`
	sampling
	LogProbs    bool   `json:"logprobs"`
	TopLogProbs *int64 `json:"top_logprobs"`
	Tools       []struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	} `json:"tools"`
	ToolChoice     toolChoice `json:"tool_choice"`
	Parallel       *bool      `json:"parallel_tool_calls"`
	ResponseFormat struct {
		Type   string `json:"type"`
		Schema struct {
			Schema api.Object `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
	Effort   string `json:"reasoning_effort"`
	Thinking struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Template struct {
		Thinking       *bool  `json:"thinking"`
		EnableThinking *bool  `json:"enable_thinking"`
		Effort         string `json:"reasoning_effort"`
		DropThinking   *bool  `json:"drop_thinking"`
	} `json:"chat_template_kwargs"`
	Reasoning struct {
		Effort string `json:"effort"`
	} `json:"reasoning"`
	Continue bool `json:"continue_final_message"`
}

type function struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Parameters  api.Object `json:"parameters"`
}

// toolChoice is a word, or an object that names a function.
type toolChoice struct{ dialog.Choice }

// UnmarshalJSONFrom reads either.
func (t *toolChoice) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == jsontext.KindBeginObject {
		var named struct {
			Type     string `json:"type"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		if err := json.UnmarshalDecode(d, &named); err != nil {
			return err
		}
		if named.Type != "function" {
			return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(`found type %.40q, expected "function"`, named.Type)}
		}
		t.Kind, t.Name = dialog.ChoiceNamed, named.Function.Name
		return nil
	}
	var word string
	if err := json.UnmarshalDecode(d, &word); err != nil {
		return err
	}
	kind, ok := map[string]dialog.ChoiceKind{"": dialog.ChoiceAuto, "auto": dialog.ChoiceAuto, "none": dialog.ChoiceNone, "required": dialog.ChoiceRequired}[word]
	if !ok {
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("found %.40q, expected none, auto, required or a function", word)}
	}
	t.Kind = kind
	return nil
}

// message is one of a request's.
type message struct {
	Role             string      `json:"role"`
	Content          api.Content `json:"content"`
	ReasoningContent *string     `json:"reasoning_content"`
	Reasoning        *string     `json:"reasoning"`
	ToolCallID       string      `json:"tool_call_id"`
	ToolCalls        []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string        `json:"name"`
			Arguments api.Arguments `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	Prefix bool `json:"prefix"`
}

// roles are those that requests may have, and those that the format knows them by.
var roles = map[string]string{
	"system": chat.RoleSystem, "developer": chat.RoleSystem, "user": chat.RoleUser,
	"assistant": chat.RoleAssistant, "tool": chat.RoleTool, "latest_reminder": chat.RoleReminder,
}

func (m *message) message(i int) (out chat.Message, err error) {
	role, ok := roles[m.Role]
	if !ok {
		return out, api.Invalid(fmt.Sprintf("messages[%d].role", i), "found %.40q, expected system, developer, user, assistant, tool or latest_reminder", m.Role)
	}
	out = chat.Message{Role: role, Content: string(m.Content)}
	switch role {
	case chat.RoleTool:
		out.ToolCallID = m.ToolCallID
	case chat.RoleAssistant:
		for _, r := range []*string{m.Reasoning, m.ReasoningContent} {
			if r != nil {
				out.Reasoning = *r
			}
		}
		for _, c := range m.ToolCalls {
			out.ToolCalls = append(out.ToolCalls, chat.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: string(c.Function.Arguments)})
		}
	}
	return out, nil
}

// dialog is the conversation of the request.
func (r *chatRequest) dialog(c *api.Call) (d dialog.Request, err error) {
	d.Field = "messages"
	for i := range r.Messages {
		m, err := r.Messages[i].message(i)
		if err != nil {
			return d, err
		}
		d.Messages = append(d.Messages, m)
	}
	if n := len(r.Messages); n > 0 {
		d.Continue = r.Messages[n-1].Prefix || r.Continue
	}
	for i, t := range r.Tools {
		if t.Type != "" && t.Type != "function" {
			c.Skipped("skipped_tool", t.Type)
			continue
		}
		d.Tools = append(d.Tools, dialog.Tool{Field: fmt.Sprintf("tools[%d].function.name", i), Name: t.Function.Name, Description: t.Function.Description, Parameters: jsontext.Value(t.Function.Parameters)})
	}
	d.Choice = r.ToolChoice.Choice
	if d.Format, err = r.format(); err != nil {
		return d, err
	}
	d.KeepReasoning = r.Template.DropThinking != nil && !*r.Template.DropThinking
	d.Thinking, err = r.thinking()
	return d, err
}

func (r *chatRequest) format() (dialog.Format, error) {
	return dialog.NewFormat("response_format.type", r.ResponseFormat.Type, "response_format.json_schema.schema", jsontext.Value(r.ResponseFormat.Schema.Schema))
}

func (r *chatRequest) thinking() (t dialog.Thinking, err error) {
	t = dialog.Thinking{Type: r.Thinking.Type, Kwarg: r.Template.Thinking, Model: r.Model}
	if t.Kwarg == nil {
		t.Kwarg = r.Template.EnableThinking
	}
	for _, said := range []struct{ field, word string }{{"reasoning_effort", r.Effort}, {"reasoning.effort", r.Reasoning.Effort}, {"chat_template_kwargs.reasoning_effort", r.Template.Effort}} {
		if t.Effort == "" {
			t.Field, t.Effort = said.field, said.word
		}
	}
	if !strings.Contains(" enabled adaptive disabled ", " "+t.Type+" ") && t.Type != "" {
		return t, api.Invalid("thinking.type", "found %.40q, expected enabled, adaptive or disabled", t.Type)
	}
	return t, nil
}

// most is the smaller of both limits of a text.
func (r *chatRequest) most() (param string, most *int64) {
	if r.MaxCompletionTokens != nil && (r.MaxTokens == nil || *r.MaxCompletionTokens < *r.MaxTokens) {
		return "max_completion_tokens", r.MaxCompletionTokens
	}
	return "max_tokens", r.MaxTokens
}

// prompt lays the request out, by Call.Render or RenderToAnswer.
func (r *chatRequest) prompt(c *api.Call, render api.Renderer) (*dialog.Turn, engine.Prompt, error) {
	if err := c.Resolve(r.Model); err != nil {
		return nil, engine.Prompt{}, err
	}
	d, err := r.dialog(c)
	if err != nil {
		return nil, engine.Prompt{}, err
	}
	return render(d)
}

// job is what the model is to do.
func (r *chatRequest) job(c *api.Call) (*dialog.Turn, turn.Job, error) {
	t, prompt, err := r.prompt(c, c.RenderToAnswer)
	j := turn.Job{}
	if err != nil {
		return nil, j, err
	}
	param, most := r.most()
	room, err := c.Room(len(prompt.IDs), param, most)
	if err != nil {
		return nil, j, err
	}
	j.Prompts = []turn.Prompt{{Prompt: prompt, MaxTokens: room}}
	if err = r.apply(c, &j, t.Options.Mode == chat.Thinking && t.Parse.Tools); err != nil {
		return nil, j, err
	}
	j.Parse = &t.Parse
	j.OneCall = r.Parallel != nil && !*r.Parallel
	j.LogProbs = r.LogProbs
	if top := r.TopLogProbs; top != nil {
		switch {
		case *top < 0 || *top > 20:
			return nil, j, api.Invalid("top_logprobs", "found %d, expected 0 to 20", *top)
		case *top > 0 && !r.LogProbs:
			return nil, j, api.Invalid("top_logprobs", "found %d without logprobs; set logprobs to true", *top)
		}
		j.Top = int(*top)
	}
	return t, j, nil
}

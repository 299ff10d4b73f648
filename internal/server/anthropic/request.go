// Package anthropic has the Messages protocol.
package anthropic

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// request is the body of a message.
type request struct {
	Model         string    `json:"model"`
	MaxTokens     *int64    `json:"max_tokens"`
	Messages      []message `json:"messages"`
	System        blocks    `json:"system"`
	StopSequences []string  `json:"stop_sequences"`
	Stream        bool      `json:"stream"`
	Temperature   *float64  `json:"temperature"`
	TopP          *float64  `json:"top_p"`
	TopK          *int64    `json:"top_k"`
	Tools         []struct {
		Type        string     `json:"type"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		Schema      api.Object `json:"input_schema"`
	} `json:"tools"`
	ToolChoice struct {
		Type            string `json:"type"`
		Name            string `json:"name"`
		DisableParallel bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	Thinking struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Output struct {
		Effort string `json:"effort"`
	} `json:"output_config"`
}

type message struct {
	Role    string `json:"role"`
	Content blocks `json:"content"`
}

// blocks are a content, which may come as one string.
type blocks []block

// UnmarshalJSONFrom reads either.
func (b *blocks) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return api.ReadList(d, (*[]block)(b), func(text string) block { return block{Type: "text", Text: text} })
}

// block is one of any type.
type block struct {
	Type      string         `json:"type"`
	Text      string         `json:"text"`
	Thinking  string         `json:"thinking"`
	Signature string         `json:"signature"`
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Input     jsontext.Value `json:"input"` // a string if a call was cut off
	ToolUseID string         `json:"tool_use_id"`
	Content   blocks         `json:"content"`
	Source    struct {
		Type string `json:"type"`
	} `json:"source"`
}

// part is a block as a piece of a text, and whether it is one.
func (b *block) part() (chat.Part, bool) {
	switch b.Type {
	case "text":
		return chat.Part{Type: "text", Text: b.Text}, true
	case "image":
		return chat.Part{Type: "Image"}, true
	case "document":
		return chat.Part{Type: "document type: " + b.Source.Type}, true
	case "thinking", "redacted_thinking", "tool_use", "tool_result":
		return chat.Part{}, false
	}
	return chat.Part{Type: b.Type}, true
}

// text joins the blocks that are text.
func (b blocks) text() string {
	var parts []chat.Part
	for i := range b {
		if p, ok := b[i].part(); ok {
			parts = append(parts, p)
		}
	}
	return chat.JoinParts(parts)
}

// system are the system texts, a message each: the first may be one to drop.
func (r *request) system() (list []chat.Message) {
	for i := range r.System {
		if p, ok := r.System[i].part(); ok {
			list = append(list, chat.Message{Role: chat.RoleSystem, Content: chat.JoinParts([]chat.Part{p})})
		}
	}
	return list
}

// messages are a message's: a user's has texts and results of tools, in order.
func (m *message) messages(i int) ([]chat.Message, error) {
	switch m.Role {
	case "user":
		return m.user(), nil
	case "assistant":
		return []chat.Message{m.assistant()}, nil
	case "system": // in the middle of a conversation
		return []chat.Message{{Role: chat.RoleUser, Content: "<system-reminder>\n" + m.Content.text() + "\n</system-reminder>"}}, nil
	}
	return nil, api.Invalid(fmt.Sprintf("messages[%d].role", i), "found %.40q, expected user or assistant", m.Role)
}

func (m *message) user() (list []chat.Message) {
	for i := range m.Content {
		b := &m.Content[i]
		if b.Type == "tool_result" {
			list = append(list, chat.Message{Role: chat.RoleTool, ToolCallID: b.ToolUseID, Content: b.Content.text()})
			continue
		}
		if p, ok := b.part(); ok {
			list = append(list, chat.Message{Role: chat.RoleUser, Content: chat.JoinParts([]chat.Part{p})})
		}
	}
	if list == nil {
		list = []chat.Message{{Role: chat.RoleUser}}
	}
	return list
}

func (m *message) assistant() chat.Message {
	out := chat.Message{Role: chat.RoleAssistant, Content: m.Content.text()}
	var reasoning []string
	for i := range m.Content {
		switch b := &m.Content[i]; b.Type {
		case "thinking":
			reasoning = append(reasoning, b.Thinking)
			out.ReasoningID = b.Signature
		case "tool_use":
			input := string(b.Input)
			if input == "" || input == "null" {
				input = "{}"
			}
			out.ToolCalls = append(out.ToolCalls, chat.ToolCall{ID: b.ID, Name: b.Name, Arguments: input})
		}
	}
	out.Reasoning = strings.Join(reasoning, "\n\n")
	return out
}

// dialog is the conversation of the request. An assistant's message at the end is the
// beginning of the answer.
func (r *request) dialog(c *api.Call) (d dialog.Request, err error) {
	d.Field = "messages"
	d.Messages = r.system()
	for i := range r.Messages {
		more, err := r.Messages[i].messages(i)
		if err != nil {
			return d, err
		}
		d.Messages = append(d.Messages, more...)
	}
	if n := len(r.Messages); n == 0 {
		return d, api.Invalid("messages", "found none, expected at least one")
	} else if last := d.Messages[len(d.Messages)-1]; r.Messages[n-1].Role == "assistant" && len(last.ToolCalls) == 0 {
		d.Continue = true
	}
	for i, t := range r.Tools {
		if t.Type != "" && t.Type != "custom" {
			c.Skipped("skipped_tool", t.Type)
			continue
		}
		d.Tools = append(d.Tools, dialog.Tool{Field: fmt.Sprintf("tools[%d].name", i), Name: t.Name, Description: t.Description, Parameters: jsontext.Value(t.Schema)})
	}
	kind, ok := map[string]dialog.ChoiceKind{"": dialog.ChoiceAuto, "auto": dialog.ChoiceAuto, "any": dialog.ChoiceRequired, "tool": dialog.ChoiceNamed, "none": dialog.ChoiceNone}[r.ToolChoice.Type]
	if !ok {
		return d, api.Invalid("tool_choice.type", "found %.40q, expected auto, any, tool or none", r.ToolChoice.Type)
	}
	d.Choice = dialog.Choice{Kind: kind, Name: r.ToolChoice.Name}
	if !strings.Contains(" enabled adaptive disabled ", " "+r.Thinking.Type+" ") && r.Thinking.Type != "" {
		return d, api.Invalid("thinking.type", "found %.40q, expected enabled, adaptive or disabled", r.Thinking.Type)
	}
	d.Thinking = dialog.Thinking{Type: r.Thinking.Type, Field: "output_config.effort", Effort: r.Output.Effort, Model: r.Model}
	return d, nil
}

// prompt lays the request out, by Call.Render or RenderToAnswer.
func (r *request) prompt(c *api.Call, render api.Renderer) (*dialog.Turn, engine.Prompt, error) {
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
func (r *request) job(c *api.Call) (t *dialog.Turn, j turn.Job, err error) {
	if r.MaxTokens == nil {
		return nil, j, api.Invalid("max_tokens", "found none, expected 1 or more")
	}
	t, prompt, err := r.prompt(c, c.RenderToAnswer)
	if err != nil {
		return nil, j, err
	}
	room, err := c.Room(len(prompt.IDs), "max_tokens", r.MaxTokens)
	if err != nil {
		return nil, j, err
	}
	j = turn.Job{Prompts: []turn.Prompt{{Prompt: prompt, MaxTokens: room}}, Choices: 1, Parse: &t.Parse, OneCall: r.ToolChoice.DisableParallel}
	if j.Stop, err = c.Stops("stop_sequences", r.StopSequences); err != nil {
		return nil, j, err
	}
	j.Sampling, err = c.Pick(api.Sampling{Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK}, t.Options.Mode == chat.Thinking && t.Parse.Tools)
	return t, j, err
}

// CountTokens answers POST /v1/messages/count_tokens.
func CountTokens(c *api.Call) error {
	var r request
	if err := c.Decode(&r); err != nil {
		return err
	}
	_, prompt, err := r.prompt(c, c.Render)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		Tokens int `json:"input_tokens"`
	}{len(prompt.IDs)})
}

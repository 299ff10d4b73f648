// Package responses has OpenAI's Responses protocol, without memory of earlier responses.
package responses

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// request is the body of a response.
type request struct {
	Model        string           `json:"model"`
	Input        items            `json:"input"`
	Instructions *string          `json:"instructions"`
	Include      []string         `json:"include"`
	Tools        []jsontext.Value `json:"tools"`
	ToolChoice   jsontext.Value   `json:"tool_choice"`
	Parallel     *bool            `json:"parallel_tool_calls"`
	Stream       bool             `json:"stream"`
	MaxTokens    *int64           `json:"max_output_tokens"`
	Temperature  *float64         `json:"temperature"`
	TopP         *float64         `json:"top_p"`
	TopLogProbs  *int64           `json:"top_logprobs"`
	Reasoning    struct {
		Effort string `json:"effort"`
	} `json:"reasoning"`
	Text struct {
		Format struct {
			Type   string     `json:"type"`
			Schema api.Object `json:"schema"`
		} `json:"format"`
	} `json:"text"`
	Previous     string         `json:"previous_response_id"`
	Conversation jsontext.Value `json:"conversation"`
	Background   bool           `json:"background"`
}

// items are what a conversation consists of; a string is a user's message.
type items []item

// UnmarshalJSONFrom reads either.
func (x *items) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return api.ReadList(d, (*[]item)(x), func(text string) item { return item{Role: "user", Content: api.Content(text)} })
}

// item is one of any type.
type item struct {
	ID        string        `json:"id"`
	Type      string        `json:"type"`
	Role      string        `json:"role"`
	Content   api.Content   `json:"content"`
	Summary   api.Content   `json:"summary"`
	Encrypted string        `json:"encrypted_content"`
	CallID    string        `json:"call_id"`
	Name      string        `json:"name"`
	Arguments api.Arguments `json:"arguments"`
	Input     string        `json:"input"`
	Output    api.Content   `json:"output"`
}

// sealed begins the reasoning that is given to clients to bring back, whether they ask to
// include it or not: some bring back nothing else. It is theirs, and not secret: nothing
// is encrypted.
const sealed = "smelt1."

func seal(reasoning string) string {
	return sealed + base64.RawURLEncoding.EncodeToString([]byte(reasoning))
}

// reasoning is the text of an item of reasoning.
func (x *item) reasoning() string {
	if x.Content != "" {
		return string(x.Content)
	}
	if code, ok := strings.CutPrefix(x.Encrypted, sealed); ok {
		if text, err := base64.RawURLEncoding.DecodeString(code); err == nil {
			return strings.ToValidUTF8(string(text), "\uFFFD")
		}
	}
	return string(x.Summary)
}

// conversation gathers the messages of items. Those of one turn of the assistant are one.
type conversation struct {
	list          []chat.Message
	turn          *chat.Message // of the assistant, if it goes on
	said, thought []string      // in it
}

func (v *conversation) assistant() *chat.Message {
	if v.turn == nil {
		v.turn = &chat.Message{Role: chat.RoleAssistant}
	}
	return v.turn
}

// end ends the assistant's turn. Its texts are joined only then, in linear time.
func (v *conversation) end() {
	if v.turn == nil {
		return
	}
	empty := func(text string) bool { return text == "" }
	v.turn.Content = strings.Join(slices.DeleteFunc(v.said, empty), "\n\n")
	v.turn.Reasoning = strings.Join(slices.DeleteFunc(v.thought, empty), "\n\n")
	v.list = append(v.list, *v.turn)
	v.turn, v.said, v.thought = nil, nil, nil
}

func (v *conversation) add(m chat.Message) {
	v.end()
	v.list = append(v.list, m)
}

// messages are the items' messages.
func (x items) messages(c *api.Call) ([]chat.Message, error) {
	var v conversation
	for i := range x {
		it := &x[i]
		switch it.Type {
		case "", "message":
			role, ok := map[string]string{"system": chat.RoleSystem, "developer": chat.RoleSystem, "user": chat.RoleUser, "assistant": chat.RoleAssistant}[it.Role]
			if !ok {
				return nil, api.Invalid(fmt.Sprintf("input[%d].role", i), "found %.40q, expected system, developer, user or assistant", it.Role)
			}
			if role == chat.RoleAssistant {
				v.assistant()
				v.said = append(v.said, string(it.Content))
				continue
			}
			v.add(chat.Message{Role: role, Content: string(it.Content)})
		case "reasoning":
			v.assistant().ReasoningID = it.ID
			v.thought = append(v.thought, it.reasoning())
		case "function_call", "custom_tool_call":
			arguments := string(it.Arguments)
			if it.Type == "custom_tool_call" {
				arguments = `{"input": ` + pyjson.Text(it.Input).String() + `}`
			}
			m := v.assistant()
			m.ToolCalls = append(m.ToolCalls, chat.ToolCall{ID: it.CallID, Name: it.Name, Arguments: arguments})
		case "function_call_output", "custom_tool_call_output":
			v.add(chat.Message{Role: chat.RoleTool, ToolCallID: it.CallID, Content: string(it.Output)})
		case "item_reference":
			return nil, api.Invalid(fmt.Sprintf("input[%d]", i), "refers to an item that is not stored here; send the full input")
		default:
			c.Skipped("skipped_item", it.Type)
		}
	}
	v.end()
	return v.list, nil
}

// tool is one of any type.
type tool struct {
	Type        string           `json:"type"`
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Parameters  api.Object       `json:"parameters"`
	Tools       []jsontext.Value `json:"tools"` // of a namespace
	Format      struct {
		Syntax     string `json:"syntax"`
		Definition string `json:"definition"`
	} `json:"format"`
}

// shown are the tools that the model is shown, by what clients know of them.
type shown struct {
	list      []dialog.Tool
	custom    []string          // names of those whose argument is one text
	namespace map[string]string // by name
}

// inputOnly is the schema of tools whose argument is one text.
const inputOnly = `{"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}`

func (s *shown) add(c *api.Call, values []jsontext.Value, field, namespace string) error {
	for i, value := range values {
		var t tool
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := api.DecodeValue(at, value, &t); err != nil {
			return err
		}
		switch {
		case t.Type == "function":
			s.list = append(s.list, dialog.Tool{Field: at + ".name", Name: t.Name, Description: t.Description, Parameters: jsontext.Value(t.Parameters)})
		case t.Type == "custom":
			if t.Format.Definition != "" {
				t.Description += "\n\nThe input follows this grammar (" + t.Format.Syntax + "):\n" + t.Format.Definition
			}
			s.custom = append(s.custom, t.Name)
			s.list = append(s.list, dialog.Tool{Field: at + ".name", Name: t.Name, Description: t.Description, Parameters: jsontext.Value(inputOnly)})
		case t.Type == "namespace" && namespace == "":
			if err := s.add(c, t.Tools, at+".tools", t.Name); err != nil {
				return err
			}
			continue
		default:
			c.Skipped("skipped_tool", t.Type)
			continue
		}
		if namespace != "" {
			s.namespace[t.Name] = namespace
		}
	}
	return nil
}

func (r *request) choice() (dialog.Choice, error) {
	if len(r.ToolChoice) == 0 || string(r.ToolChoice) == "null" {
		return dialog.Choice{}, nil
	}
	var word string
	if json.Unmarshal(r.ToolChoice, &word) == nil {
		if kind, ok := map[string]dialog.ChoiceKind{"auto": dialog.ChoiceAuto, "none": dialog.ChoiceNone, "required": dialog.ChoiceRequired}[word]; ok {
			return dialog.Choice{Kind: kind}, nil
		}
	}
	var named struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	if json.Unmarshal(r.ToolChoice, &named) == nil && (named.Type == "function" || named.Type == "custom") {
		return dialog.Choice{Kind: dialog.ChoiceNamed, Name: named.Name}, nil
	}
	return dialog.Choice{}, api.Invalid("tool_choice", "found %.80q, expected none, auto, required or a function", r.ToolChoice)
}

func (r *request) format() (dialog.Format, error) {
	return dialog.NewFormat("text.format.type", r.Text.Format.Type, "text.format.schema", jsontext.Value(r.Text.Format.Schema))
}

// stored refuses what needs a memory of earlier responses.
func (r *request) stored() error {
	const text = "not stored here; send the full input"
	switch {
	case r.Previous != "":
		return api.Invalid("previous_response_id", text)
	case len(r.Conversation) > 0 && string(r.Conversation) != "null":
		return api.Invalid("conversation", text)
	case r.Background:
		return api.Invalid("background", "found true; nothing is stored here, so wait for the answer")
	}
	return nil
}

// dialog is the conversation of the request.
func (r *request) dialog(c *api.Call, tools *shown) (d dialog.Request, err error) {
	d.Field = "input"
	if err = r.stored(); err != nil {
		return d, err
	}
	messages, err := r.Input.messages(c)
	if err != nil {
		return d, err
	}
	if len(messages) == 0 {
		return d, api.Invalid("input", "found none, expected a text or items")
	}
	if r.Instructions != nil {
		d.Messages = []chat.Message{{Role: chat.RoleSystem, Content: *r.Instructions}}
	}
	d.Messages = append(d.Messages, messages...)
	if err = tools.add(c, r.Tools, "tools", ""); err != nil {
		return d, err
	}
	d.Tools = tools.list
	if d.Choice, err = r.choice(); err != nil {
		return d, err
	}
	d.Format, err = r.format()
	d.Thinking = dialog.Thinking{Field: "reasoning.effort", Effort: r.Reasoning.Effort, Model: r.Model}
	return d, err
}

// job is what the model is to do.
func (r *request) job(c *api.Call, tools *shown) (t *dialog.Turn, j turn.Job, err error) {
	if err = c.Resolve(r.Model); err != nil {
		return nil, j, err
	}
	d, err := r.dialog(c, tools)
	if err != nil {
		return nil, j, err
	}
	var prompt engine.Prompt
	if t, prompt, err = c.RenderToAnswer(d); err != nil {
		return nil, j, err
	}
	room, err := c.Room(len(prompt.IDs), "max_output_tokens", r.MaxTokens)
	if err != nil {
		return nil, j, err
	}
	j = turn.Job{Prompts: []turn.Prompt{{Prompt: prompt, MaxTokens: room}}, Choices: 1, Parse: &t.Parse, OneCall: r.Parallel != nil && !*r.Parallel}
	if j.Stop, err = c.Stops("stop", nil); err != nil {
		return nil, j, err
	}
	j.LogProbs = slices.Contains(r.Include, "message.output_text.logprobs")
	if top := r.TopLogProbs; top != nil {
		if *top < 0 || *top > 20 {
			return nil, j, api.Invalid("top_logprobs", "found %d, expected 0 to 20", *top)
		}
		j.Top, j.LogProbs = int(*top), j.LogProbs || *top > 0
	}
	j.Sampling, err = c.Pick(api.Sampling{Temperature: r.Temperature, TopP: r.TopP}, t.Options.Mode == chat.Thinking && t.Parse.Tools)
	return t, j, err
}

// Responses answers POST /v1/responses.
func Responses(c *api.Call) error {
	var r request
	if err := c.Decode(&r); err != nil {
		return err
	}
	tools := &shown{namespace: map[string]string{}}
	t, job, err := r.job(c, tools)
	if err != nil {
		return err
	}
	w := newWriter(c, t, tools, &r, job)
	return c.Answer(job, r.Stream, w)
}

// Package dialog makes what a model is asked of what a client asked: the one home of the
// rules by which requests of all protocols become messages of a chat format.
package dialog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
)

// Request is a conversation to go on with, as any protocol has it. Its messages may have
// system texts anywhere.
type Request struct {
	// Field is where the request has them, for errors.
	Field    string
	Messages []chat.Message
	// Continue goes on with the last message, an assistant's.
	Continue bool
	Tools    []Tool
	Choice   Choice
	Format   Format
	Thinking Thinking
	// KeepReasoning keeps the reasoning of earlier turns.
	KeepReasoning bool
}

// Tool is a function that the model may call.
type Tool struct {
	// Field is where the request names it, for errors.
	Field             string
	Name, Description string
	Parameters        jsontext.Value // a JSON schema; nil means none
}

// Choice says whether tools are to be called.
type Choice struct {
	Kind ChoiceKind
	Name string // of the tool, for ChoiceNamed
}

// ChoiceKind is a kind of Choice.
type ChoiceKind int

const (
	ChoiceAuto     ChoiceKind = iota // as the model likes
	ChoiceNone                       // none is shown
	ChoiceRequired                   // at least one
	ChoiceNamed                      // that one
)

// Format is the form that the answer is to have.
type Format struct {
	JSON   bool
	Field  string         // where the request has the schema, for errors
	Schema jsontext.Value // nil for any JSON
}

// Thinking is what a request says about reasoning, and what the server does about
// requests that say nothing.
type Thinking struct {
	Type   string // enabled, adaptive or disabled; "" if not said
	Kwarg  *bool  // of the chat template
	Field  string // where the request says the effort, for errors
	Effort string // a word, none for no reasoning; "" if not said
	Model  string // as it was asked for

	// Default and Usual are for requests that say nothing: whether to reason, and the
	// effort's word.
	Default bool
	Usual   string
}

// NewFormat is the format of a type's name, with its schema if it has one. The fields are
// where the request says them, for errors.
func NewFormat(typeField, name, schemaField string, schema jsontext.Value) (Format, error) {
	switch name {
	case "", "text":
		return Format{}, nil
	case "json_object":
		return Format{JSON: true}, nil
	case "json_schema":
		if schema == nil {
			return Format{}, &Error{schemaField, "found none, expected a JSON schema"}
		}
		return Format{JSON: true, Field: schemaField, Schema: schema}, nil
	}
	return Format{}, &Error{typeField, fmt.Sprintf("found %.40q, expected text, json_object or json_schema", name)}
}

// Error is about a field of a request.
type Error struct{ Field, Text string }

func (e *Error) Error() string { return e.Field + ": " + e.Text }

// Turn is what the model is asked.
type Turn struct {
	Messages []chat.Message
	Options  chat.Options
	Parse    chat.ParseOptions
	// Notes say what was done differently from what was asked.
	Notes []string
	// Context is how many tokens there should be room for, for the effort that was asked
	// for; 0 is any number.
	Context int

	checks checks
}

// Limits of requests.
const (
	MaxMessages = 8192
	MaxTools    = 2048
	maxToolName = 256
)

// Build makes the turn of a request.
func Build(r Request, f chat.Format) (*Turn, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	t := &Turn{}
	tools, err := r.shown()
	if err != nil {
		return nil, err
	}
	if err := t.think(r, f); err != nil {
		return nil, err
	}
	t.Messages = r.system(tools, f)
	for _, m := range r.Messages {
		if m.Role != chat.RoleSystem {
			t.Messages = append(t.Messages, m)
		}
	}
	if len(t.Messages) == 0 {
		return nil, &Error{r.Field, "found empty system messages only, expected one that says something"}
	}
	last := t.Messages[len(t.Messages)-1]
	switch {
	case r.Continue && last.Role == chat.RoleAssistant && len(last.ToolCalls) == 0:
		t.Options.Continue = true
	case r.Continue:
		return nil, &Error{r.Field, "the last message is to be continued; it has to be an assistant's without tool calls"}
	default:
		t.Options.Again = true
	}
	t.Options.KeepReasoning = r.KeepReasoning
	t.Parse = chat.ParseOptions{Stage: t.Options.Stage(t.Messages), Tools: len(tools) > 0}
	t.checks, err = newChecks(tools, r.Format)
	return t, err
}

// Bytes is how long the prompt is at least: texts that surely are a part of it.
func (r *Request) Bytes() (n int) {
	for _, m := range r.Messages {
		n += len(withoutBilling(m.Content))
	}
	return n
}

func (r *Request) check() error {
	switch n := len(r.Messages); {
	case n == 0:
		return &Error{r.Field, "found none, expected at least one"}
	case n > MaxMessages:
		return &Error{r.Field, fmt.Sprintf("found %d, expected at most %d", n, MaxMessages)}
	case len(r.Tools) > MaxTools:
		return &Error{"tools", fmt.Sprintf("found %d, expected at most %d", len(r.Tools), MaxTools)}
	}
	for _, t := range r.Tools {
		if t.Name == "" || len(t.Name) > maxToolName || strings.ContainsFunc(t.Name, func(c rune) bool { return strings.ContainsRune(`"<>`, c) || c < ' ' || c == 0x7f }) {
			return &Error{t.Field, fmt.Sprintf(`found %.80q, expected 1 to %d bytes without ", <, > and control characters`, t.Name, maxToolName)}
		}
	}
	return nil
}

// shown are the tools that the model gets to see.
func (r *Request) shown() ([]Tool, error) {
	switch r.Choice.Kind {
	case ChoiceNone:
		return nil, nil
	case ChoiceRequired:
		if len(r.Tools) == 0 {
			return nil, &Error{"tool_choice", "a tool has to be called, and tools has none that can be"}
		}
	case ChoiceNamed:
		at := slices.IndexFunc(r.Tools, func(t Tool) bool { return t.Name == r.Choice.Name })
		if at < 0 {
			return nil, &Error{"tool_choice", fmt.Sprintf("found the function %.80q, which is none of tools", r.Choice.Name)}
		}
		return r.Tools[at : at+1], nil
	}
	return r.Tools, nil
}

// think says whether the model reasons, and how long. A call that has to be made comes
// without reasoning: the prompt ends with its beginning.
func (t *Turn) think(r Request, f chat.Format) error {
	effort := r.Thinking.Effort
	on := r.Thinking.on()
	if effort == "none" {
		effort = ""
	}
	if effort == "" {
		effort = r.Thinking.Usual
	}
	own, context, err := f.Effort(effort)
	if err != nil {
		return &Error{r.Thinking.Field, err.Error()}
	}
	if r.Choice.Kind == ChoiceRequired || r.Choice.Kind == ChoiceNamed {
		t.Options.Call = true
		if on {
			on = false
			t.Notes = append(t.Notes, "thinking is off: tool_choice asks for a call at once")
		}
	}
	if on {
		t.Options.Mode, t.Options.Effort, t.Context = chat.Thinking, own, context
	}
	return nil
}

func (t Thinking) on() bool {
	switch {
	case t.Type != "":
		return t.Type != "disabled"
	case t.Kwarg != nil:
		return *t.Kwarg
	case t.Effort != "":
		return t.Effort != "none"
	case t.Model == "deepseek-chat":
		return false
	case t.Model == "deepseek-reasoner":
		return true
	}
	return t.Default
}

// system gathers all system texts, the tools and the form of the answer in front.
func (r *Request) system(tools []Tool, f chat.Format) []chat.Message {
	var texts []string
	for _, m := range r.Messages {
		if text := withoutBilling(m.Content); m.Role == chat.RoleSystem && text != "" {
			texts = append(texts, text)
		}
	}
	m := chat.Message{Role: chat.RoleSystem, Content: strings.Join(texts, "\n\n"), ResponseFormat: string(r.Format.Schema)}
	for _, t := range tools {
		m.Tools = append(m.Tools, t.json())
	}
	var all []chat.Message
	if m.Content != "" || len(m.Tools) > 0 || m.ResponseFormat != "" {
		all = append(all, m)
	}
	if r.Format.JSON && r.Format.Schema == nil { // a message of its own comes after the tools
		all = append(all, chat.Message{Role: chat.RoleSystem, Content: "\n\n" + f.JSONAnswer()})
	}
	return all
}

// billingHeader begins a line that one client puts before its system text. It differs
// with each request, so no prefix would ever be the same.
const billingHeader = "x-anthropic-billing-header"

// withoutBilling cuts that line, up to its end or what the client puts behind it.
func withoutBilling(text string) string {
	if !strings.HasPrefix(text, billingHeader) {
		return text
	}
	cut := len(text)
	if at := strings.Index(text, "\n"); at >= 0 {
		cut = at + 1
	}
	if at := strings.Index(text, "You are"); at >= 0 && at < cut {
		cut = at
	}
	return text[cut:]
}

// json is the tool as the model sees it: these keys in this order.
func (t Tool) json() string {
	parameters := string(t.Parameters)
	if parameters == "" || parameters == "null" {
		parameters = "{}"
	}
	quote := func(text string) string { return pyjson.Text(text).String() }
	return `{"name": ` + quote(t.Name) + `, "description": ` + quote(t.Description) + `, "parameters": ` + parameters + `}`
}

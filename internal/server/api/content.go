package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
	"smelt.example/smelt/internal/strictjson"
)

// Content is the text of a message, which comes as a string, as null or in parts.
type Content string

// UnmarshalJSONFrom reads any of these.
func (c *Content) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != jsontext.KindBeginArray {
		return json.UnmarshalDecode(d, (*string)(c))
	}
	var parts []Part
	if err := json.UnmarshalDecode(d, &parts); err != nil {
		return err
	}
	*c = Content(Join(parts))
	return nil
}

// ReadList reads an array, or in its place a string, of which it makes the only element.
func ReadList[T any](d *jsontext.Decoder, list *[]T, of func(text string) T) error {
	if d.PeekKind() != jsontext.KindString {
		return json.UnmarshalDecode(d, list)
	}
	var text string
	err := json.UnmarshalDecode(d, &text)
	*list = []T{of(text)}
	return err
}

// Part is one part of a content.
type Part struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

// Join makes one text of parts. Of what is no text there is a note.
func Join(parts []Part) string {
	var out []chat.Part
	for _, p := range parts {
		switch p.Type {
		case "text", "input_text", "output_text", "summary_text", "reasoning_text", "":
			out = append(out, chat.Part{Type: "text", Text: p.Text})
		case "refusal":
			out = append(out, chat.Part{Type: "text", Text: p.Refusal})
		case "image", "image_url", "input_image", "file", "input_file", "audio", "input_audio", "video", "video_url":
			out = append(out, chat.Part{Type: "Image"}) // the vendor's word for all of them
		default:
			out = append(out, chat.Part{Type: p.Type})
		}
	}
	return chat.JoinParts(out)
}

// Arguments are a call's, which come as a text of JSON or as an object.
type Arguments string

// UnmarshalJSONFrom reads either.
func (a *Arguments) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != jsontext.KindBeginObject {
		return json.UnmarshalDecode(d, (*string)(a))
	}
	value, err := d.ReadValue()
	*a = Arguments(value)
	return err
}

// Object is an object as it was written; nil if there is none or null.
type Object jsontext.Value

// UnmarshalJSONFrom reads an object or null.
func (o *Object) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	kind := d.PeekKind()
	value, err := d.ReadValue()
	switch {
	case err != nil:
		return err
	case kind == jsontext.KindNull:
		*o = nil
	case kind == jsontext.KindBeginObject:
		*o = Object(value.Clone())
	default:
		return &Error{Status: http.StatusBadRequest, Message: "found " + strictjson.KindName(kind) + ", expected an object"}
	}
	return nil
}

// Renderer lays a conversation out: Call.Render, or Call.RenderToAnswer.
type Renderer func(d dialog.Request) (*dialog.Turn, engine.Prompt, error)

// RenderToAnswer is Render where an answer is to follow. What cannot have room for one is
// refused before its text, which may be long, is made tokens of.
func (c *Call) RenderToAnswer(d dialog.Request) (*dialog.Turn, engine.Prompt, error) {
	if err := c.MayFit(d.Bytes()); err != nil {
		return nil, engine.Prompt{}, err
	}
	return c.Render(d)
}

// MayFit refuses a text of so many bytes if it has no room however few tokens it has.
func (c *Call) MayFit(bytes int) error {
	m := c.Engine.Model()
	if least := m.Least(bytes); least > m.Context {
		return TooLong(least, 0, m.Context)
	}
	return nil
}

// Render lays a conversation out.
func (c *Call) Render(d dialog.Request) (*dialog.Turn, engine.Prompt, error) {
	m := c.Engine.Model()
	if m.Format == nil {
		return nil, engine.Prompt{}, engine.ErrNoChat
	}
	d.Thinking.Default, d.Thinking.Usual = !c.Options.NoThinking, c.Options.Effort
	t, err := dialog.Build(d, m.Format)
	if err != nil {
		return nil, engine.Prompt{}, err
	}
	if t.Context > m.Context {
		t.Notes = append(t.Notes, fmt.Sprintf("effort %s is made for a context of %d tokens or more; this one has %d", t.Options.Effort, t.Context, m.Context))
	}
	for _, note := range t.Notes {
		c.Note("note", note)
	}
	if len(t.Notes) > 0 {
		c.SetHeader("Smelt-Note", strings.Join(t.Notes, "; "))
	}
	prompt, err := m.Render(t.Messages, t.Options, c.Memory)
	if err != nil {
		return nil, prompt, &Error{Status: 400, Message: err.Error(), Cause: err}
	}
	if prompt.Recalled > 0 {
		c.Note("recalled_turns", prompt.Recalled)
	}
	return t, prompt, nil
}

// Remember remembers with which tokens a turn was written, which answers a prompt and ended so.
// The message is the turn as the client has it, with the ids that it was given.
func (c *Call) Remember(p engine.Prompt, e *turn.End, m chat.Message) {
	if e.Tokens != nil && p.Turn != nil && c.Memory != nil {
		c.Memory.Put(p.Turn.Prefix, p.Written(m, e.Tokens))
	}
}

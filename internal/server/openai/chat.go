package openai

import (
	"time"

	"github.com/go-json-experiment/json"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// Chat answers POST /v1/chat/completions.
func Chat(c *api.Call) error {
	var r chatRequest
	if err := c.Decode(&r); err != nil {
		return err
	}
	t, job, err := r.job(c)
	if err != nil {
		return err
	}
	w := &chatWriter{call: c, turn: t, prompt: job.Prompts[0].Prompt, usage: r.StreamOptions.IncludeUsage, logProbs: r.LogProbs}
	w.head = head{ID: api.NewID("chatcmpl-"), Created: time.Now().Unix(), Model: c.Model}
	w.choices = make([]chatChoice, job.Choices)
	return c.Answer(job, r.Stream, w)
}

// head is what each piece of an answer begins with.
type head struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

func (h head) of(object string) head {
	h.Object = object
	return h
}

// chatWriter is the api.Writer of chat completions.
type chatWriter struct {
	call     *api.Call
	turn     *dialog.Turn
	prompt   engine.Prompt
	usage    bool // as a chunk of its own
	logProbs bool
	head     head
	choices  []chatChoice
}

// chatChoice is one answer so far.
type chatChoice struct {
	answer   turn.Answer
	ids      []string // of its calls
	logProbs logProbs
	finish   string
	usage    turn.Usage
	wrong    []string
}

// choice is a choice as it is written.
type choice struct {
	Index    int       `json:"index"`
	Message  *answer   `json:"message,omitempty"`
	Delta    *delta    `json:"delta,omitzero"`
	LogProbs *logProbs `json:"logprobs"`
	Finish   *string   `json:"finish_reason"`
}

// answer is a whole message.
type answer struct {
	Role      string  `json:"role"`
	Content   *string `json:"content"`
	Reasoning string  `json:"reasoning_content,omitempty"`
	Calls     []call  `json:"tool_calls,omitempty"`
}

// delta is a piece of one.
type delta struct {
	Role      string   `json:"role,omitempty"`
	Content   nullable `json:"content,omitzero"`
	Reasoning *string  `json:"reasoning_content,omitzero"`
	Calls     []call   `json:"tool_calls,omitempty"`
}

// nullable is a text that may be there, be null, or be left out.
type nullable struct {
	text *string
	said bool
}

// MarshalJSON writes the text or null.
func (n nullable) MarshalJSON() ([]byte, error) {
	if n.text == nil {
		return []byte("null"), nil
	}
	return json.Marshal(*n.text)
}

// IsZero tells whether it is left out.
func (n nullable) IsZero() bool { return !n.said }

type call struct {
	Index    *int         `json:"index,omitzero"`
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function callFunction `json:"function"`
}

type callFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// chatBody is an answer or a chunk of one.
type chatBody struct {
	head
	Choices []choice    `json:"choices"`
	Usage   *usage      `json:"usage,omitzero"`
	Smelt   *api.Report `json:"smelt,omitzero"`
}

func (w *chatWriter) chunk(c choice) chatBody {
	return chatBody{head: w.head.of("chat.completion.chunk"), Choices: []choice{c}}
}

// Open sends the role of each choice.
func (w *chatWriter) Open() (frames []api.Frame) {
	empty := ""
	for i := range w.choices {
		d := delta{Role: chat.RoleAssistant, Content: nullable{&empty, true}}
		if w.turn.Parse.Stage == chat.InReasoning {
			d.Content, d.Reasoning = nullable{said: true}, &empty
		}
		frames = append(frames, api.Frame{Data: w.chunk(choice{Index: i, Delta: &d})})
	}
	return frames
}

// Event sends what an event adds.
func (w *chatWriter) Event(e turn.Event) (frames []api.Frame) {
	c := &w.choices[e.Choice]
	if e.End != nil {
		return w.end(e)
	}
	for i, d := range e.Deltas {
		piece := c.add(d)
		out := choice{Index: e.Choice, Delta: &piece}
		if i == 0 && w.logProbs {
			out.LogProbs = w.probabilities(d.Kind, e)
			c.logProbs.add(out.LogProbs)
		}
		frames = append(frames, api.Frame{Data: w.chunk(out)})
	}
	return frames
}

// add continues the message and returns what is new of it.
func (c *chatChoice) add(d chat.Delta) (piece delta) {
	c.answer.Add(d)
	switch d.Kind {
	case chat.DeltaReasoning:
		piece.Reasoning = &d.Text
	case chat.DeltaContent:
		piece.Content = nullable{&d.Text, true}
	case chat.DeltaCall:
		id := api.NewID("call_")
		c.ids = append(c.ids, id)
		piece.Calls = []call{{Index: &d.Call, ID: id, Type: "function", Function: callFunction{Name: d.Text}}}
	case chat.DeltaArguments:
		piece.Calls = []call{{Index: &d.Call, Function: callFunction{Arguments: d.Text}}}
	}
	return piece
}

// end closes a choice.
func (w *chatWriter) end(e turn.Event) []api.Frame {
	c := &w.choices[e.Choice]
	c.usage = e.End.Usage
	c.finish = finishWord(e.End.Reason)
	m := c.answer.Message()
	if e.End.Reason != turn.Length {
		c.wrong = w.turn.Check(m)
	}
	for i := range m.ToolCalls {
		m.ToolCalls[i].ID = c.ids[i]
	}
	w.call.Remember(w.prompt, e.End, m)
	out := w.chunk(choice{Index: e.Choice, Delta: &delta{}, Finish: &c.finish})
	out.Smelt = w.call.Report(c.wrong)
	return []api.Frame{{Data: out}}
}

func finishWord(r turn.Reason) string {
	switch r {
	case turn.Length:
		return "length"
	case turn.Calls:
		return "tool_calls"
	}
	return "stop"
}

// Alive is a comment.
func (*chatWriter) Alive() api.Frame { return api.Frame{Comment: "keep-alive"} }

// Fail sends the error.
func (w *chatWriter) Fail(e *api.Error) []api.Frame {
	return []api.Frame{{Data: api.OpenAI.Body(e, w.call.ID)}}
}

// Close sends the usage, if it was asked for, and the protocol's last line.
func (w *chatWriter) Close() (frames []api.Frame) {
	if w.usage {
		frames = append(frames, api.Frame{Data: chatBody{head: w.head.of("chat.completion.chunk"), Choices: []choice{}, Usage: w.total()}})
	}
	return append(frames, api.Frame{Data: api.Literal("[DONE]")})
}

// Whole is the answer in one piece.
func (w *chatWriter) Whole() any {
	body := chatBody{head: w.head.of("chat.completion"), Usage: w.total()}
	var wrong []string
	for i := range w.choices {
		c := &w.choices[i]
		out := choice{Index: i, Message: c.message(), Finish: &c.finish}
		if w.logProbs {
			out.LogProbs = &c.logProbs
		}
		body.Choices = append(body.Choices, out)
		wrong = append(wrong, c.wrong...)
	}
	if len(wrong) > 0 {
		body.Smelt = &api.Report{Warnings: wrong}
	}
	return body
}

func (c *chatChoice) message() *answer {
	m := c.answer.Message()
	a := &answer{Role: chat.RoleAssistant, Reasoning: m.Reasoning}
	for i, x := range m.ToolCalls {
		a.Calls = append(a.Calls, call{ID: c.ids[i], Type: "function", Function: callFunction{x.Name, x.Arguments}})
	}
	if m.Content != "" || len(a.Calls) == 0 {
		a.Content = &m.Content
	}
	return a
}

// total is the usage of all choices.
func (w *chatWriter) total() *usage {
	var all []turn.Usage
	for i := range w.choices {
		all = append(all, w.choices[i].usage)
	}
	return usageOf(all)
}

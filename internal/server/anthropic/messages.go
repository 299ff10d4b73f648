package anthropic

import (
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// Messages answers POST /v1/messages.
func Messages(c *api.Call) error {
	var r request
	if err := c.Decode(&r); err != nil {
		return err
	}
	t, job, err := r.job(c)
	if err != nil {
		return err
	}
	w := &writer{call: c, turn: t, prompt: job.Prompts[0].Prompt, answer: answer{ID: api.NewID("msg_"), Type: "message", Role: chat.RoleAssistant, Model: c.Model, Content: []part{}}}
	w.answer.Usage.Input = len(job.Prompts[0].IDs)
	return c.Answer(job, r.Stream, w)
}

// answer is a message as it is written.
type answer struct {
	ID           string      `json:"id"`
	Type         string      `json:"type"`
	Role         string      `json:"role"`
	Model        string      `json:"model"`
	Content      []part      `json:"content"`
	StopReason   *string     `json:"stop_reason"`
	StopSequence *string     `json:"stop_sequence"`
	Usage        usage       `json:"usage"`
	Smelt        *api.Report `json:"smelt,omitzero"`
}

// usage counts tokens. Those that were cached are no input.
type usage struct {
	Input    int `json:"input_tokens"`
	Creation int `json:"cache_creation_input_tokens"`
	Read     int `json:"cache_read_input_tokens"`
	Output   int `json:"output_tokens"`
}

// part is a block of the answer: of its fields those are written that its type has.
type part struct {
	Type      string          `json:"type"`
	Thinking  *string         `json:"thinking,omitzero"`
	Signature *string         `json:"signature,omitzero"`
	Text      *string         `json:"text,omitzero"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     *jsontext.Value `json:"input,omitzero"`
}

// writer is the api.Writer of messages.
type writer struct {
	call   *api.Call
	turn   *dialog.Turn
	prompt engine.Prompt
	answer answer
	parts  turn.Answer // as the model gave them
	open   chat.DeltaKind
}

// event is one of a stream.
type event struct {
	Type    string  `json:"type"`
	Message *answer `json:"message,omitzero"`
	Index   *int    `json:"index,omitzero"`
	Block   *part   `json:"content_block,omitzero"`
	Delta   any     `json:"delta,omitzero"`
	Usage   *usage  `json:"usage,omitzero"`

	Smelt *api.Report `json:"smelt,omitzero"`
}

func frame(e event) api.Frame { return api.Frame{Event: e.Type, Data: e} }

// Open begins the message.
func (w *writer) Open() []api.Frame {
	begun := w.answer
	return []api.Frame{frame(event{Type: "message_start", Message: &begun})}
}

// Event sends what an event adds.
func (w *writer) Event(e turn.Event) (frames []api.Frame) {
	if e.End != nil {
		return w.end(e.End)
	}
	for _, d := range e.Deltas {
		if blockKind(d.Kind) != w.open || d.Kind == chat.DeltaCall {
			frames = append(frames, w.close()...)
			frames = append(frames, w.begin(d))
		}
		w.parts.Add(d)
		if d.Kind != chat.DeltaCall {
			frames = append(frames, w.add(d))
		}
	}
	return frames
}

// blockKind is the kind of delta that a block of this one's begins with.
func blockKind(k chat.DeltaKind) chat.DeltaKind {
	if k == chat.DeltaArguments {
		return chat.DeltaCall
	}
	return k
}

// last is the index of the block that is open.
func (w *writer) last() *int {
	n := len(w.answer.Content) - 1
	return &n
}

// begin opens a block.
func (w *writer) begin(d chat.Delta) api.Frame {
	w.open = blockKind(d.Kind)
	empty := ""
	var p part
	switch d.Kind {
	case chat.DeltaReasoning:
		p = part{Type: "thinking", Thinking: &empty, Signature: &empty}
	case chat.DeltaContent:
		p = part{Type: "text", Text: &empty}
	default:
		input := jsontext.Value("{}")
		p = part{Type: "tool_use", ID: api.NewID("toolu_"), Name: d.Text, Input: &input}
	}
	w.answer.Content = append(w.answer.Content, p)
	return frame(event{Type: "content_block_start", Index: w.last(), Block: &p})
}

// delta is a piece of a block: of its fields those are written that its type has.
type delta struct {
	Type      string  `json:"type"`
	Thinking  *string `json:"thinking,omitzero"`
	Signature *string `json:"signature,omitzero"`
	Text      *string `json:"text,omitzero"`
	JSON      *string `json:"partial_json,omitzero"`
}

// add continues the open block.
func (w *writer) add(d chat.Delta) api.Frame {
	out := delta{}
	switch d.Kind {
	case chat.DeltaReasoning:
		out.Type, out.Thinking = "thinking_delta", &d.Text
	case chat.DeltaContent:
		out.Type, out.Text = "text_delta", &d.Text
	default:
		out.Type, out.JSON = "input_json_delta", &d.Text
	}
	return frame(event{Type: "content_block_delta", Index: w.last(), Delta: out})
}

// close ends the open block, if there is one: reasoning by a signature.
func (w *writer) close() (frames []api.Frame) {
	if w.open == 0 {
		return nil
	}
	block := &w.answer.Content[*w.last()]
	switch w.open {
	case chat.DeltaReasoning:
		signature, text := api.NewID("smelt_"), w.parts.Message().Reasoning
		block.Thinking, block.Signature = &text, &signature
		frames = append(frames, frame(event{Type: "content_block_delta", Index: w.last(), Delta: delta{Type: "signature_delta", Signature: &signature}}))
	case chat.DeltaContent:
		text := w.parts.Message().Content
		block.Text = &text
	default:
		block.Input = input(w.parts.Last().Arguments)
	}
	w.open = 0
	return append(frames, frame(event{Type: "content_block_stop", Index: w.last()}))
}

// input is a call's arguments. Those that were cut off are no JSON: a text stands for
// them, which no tool takes for its input.
func input(arguments string) *jsontext.Value {
	v := jsontext.Value(arguments)
	if !v.IsValid(jsontext.AllowDuplicateNames(true)) {
		v, _ = jsontext.AppendQuote(nil, arguments) // U+FFFD stands for what is no UTF-8
	}
	return &v
}

// end closes the message.
func (w *writer) end(e *turn.End) []api.Frame {
	frames := w.close()
	a := &w.answer
	a.Usage = usage{Input: e.Usage.Prompt - e.Usage.Cached, Read: e.Usage.Cached, Output: e.Usage.Completion}
	reason := map[turn.Reason]string{turn.Ended: "end_turn", turn.StopString: "stop_sequence", turn.Length: "max_tokens", turn.Calls: "tool_use"}[e.Reason]
	a.StopReason = &reason
	if e.Reason == turn.StopString {
		a.StopSequence = &e.StopString
	}
	m := w.parts.Message()
	if e.Reason != turn.Length {
		a.Smelt = w.call.Report(w.turn.Check(m))
	}
	w.call.Remember(w.prompt, e, w.named(m))
	type stop struct {
		Reason   *string `json:"stop_reason"`
		Sequence *string `json:"stop_sequence"`
	}
	return append(frames, frame(event{Type: "message_delta", Delta: stop{a.StopReason, a.StopSequence}, Usage: &a.Usage, Smelt: a.Smelt}))
}

// named gives a message the ids of its blocks.
func (w *writer) named(m chat.Message) chat.Message {
	calls := 0
	for _, p := range w.answer.Content {
		switch {
		case p.Signature != nil:
			m.ReasoningID = *p.Signature
		case p.Type == "tool_use":
			m.ToolCalls[calls].ID = p.ID
			calls++
		}
	}
	return m
}

// Alive is an event that says nothing.
func (*writer) Alive() api.Frame { return frame(event{Type: "ping"}) }

// Fail sends the error.
func (w *writer) Fail(e *api.Error) []api.Frame {
	return []api.Frame{{Event: "error", Data: api.Anthropic.Body(e, w.call.ID)}}
}

// Close ends the stream.
func (*writer) Close() []api.Frame { return []api.Frame{frame(event{Type: "message_stop"})} }

// Whole is the message in one piece.
func (w *writer) Whole() any { return w.answer }

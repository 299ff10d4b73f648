package responses

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// Statuses of responses and items.
const (
	inProgress = "in_progress"
	completed  = "completed"
	incomplete = "incomplete"
	failed     = "failed"
)

// response is a response as it is written.
type response struct {
	ID           string             `json:"id"`
	Object       string             `json:"object"`
	Created      int64              `json:"created_at"`
	Status       string             `json:"status"`
	Error        *failure           `json:"error"`
	Incomplete   *reason            `json:"incomplete_details"`
	Instructions *string            `json:"instructions"`
	MaxTokens    *int64             `json:"max_output_tokens"`
	Model        string             `json:"model"`
	Output       []output           `json:"output"`
	Parallel     bool               `json:"parallel_tool_calls"`
	Previous     *string            `json:"previous_response_id"`
	Reasoning    map[string]*string `json:"reasoning"`
	Store        bool               `json:"store"`
	Temperature  float64            `json:"temperature"`
	Text         textFormat         `json:"text"`
	ToolChoice   jsontext.Value     `json:"tool_choice"`
	Tools        []jsontext.Value   `json:"tools"`
	TopP         float64            `json:"top_p"`
	Truncation   string             `json:"truncation"`
	Usage        *usage             `json:"usage"`
	Metadata     map[string]string  `json:"metadata"`
	Smelt        *api.Report        `json:"smelt,omitzero"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type reason struct {
	Reason string `json:"reason"`
}

type textFormat struct {
	Format struct {
		Type string `json:"type"`
	} `json:"format"`
}

type usage struct {
	Input   int `json:"input_tokens"`
	OfInput struct {
		Cached int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output   int `json:"output_tokens"`
	OfOutput struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

// output is an item of a response: of its fields those are written that its type has.
type output struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Status    string     `json:"status"`
	Role      string     `json:"role,omitempty"`
	Content   *[]content `json:"content,omitzero"`
	Summary   *[]content `json:"summary,omitzero"`
	Encrypted string     `json:"encrypted_content,omitempty"`
	CallID    string     `json:"call_id,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name,omitempty"`
	Arguments *string    `json:"arguments,omitzero"`
	Input     *string    `json:"input,omitzero"`
}

// content is a part of an item.
type content struct {
	Type        string             `json:"type"`
	Text        string             `json:"text"`
	Annotations *[]string          `json:"annotations,omitzero"`
	LogProbs    *[]api.Probability `json:"logprobs,omitzero"`
}

// event is one of a stream: of its fields those are written that its type has.
type event struct {
	Type      string             `json:"type"`
	Sequence  int                `json:"sequence_number"`
	Response  *response          `json:"response,omitzero"`
	ItemID    string             `json:"item_id,omitempty"`
	Output    *int               `json:"output_index,omitzero"`
	Content   *int               `json:"content_index,omitzero"`
	Item      *output            `json:"item,omitzero"`
	Part      *content           `json:"part,omitzero"`
	Delta     string             `json:"delta,omitempty"`
	Text      *string            `json:"text,omitzero"`
	LogProbs  *[]api.Probability `json:"logprobs,omitzero"`
	Name      string             `json:"name,omitempty"`
	Arguments *string            `json:"arguments,omitzero"`
	Input     *string            `json:"input,omitzero"`
}

// writer is the api.Writer of responses.
type writer struct {
	call     *api.Call
	turn     *dialog.Turn
	prompt   engine.Prompt
	tools    *shown
	logProbs bool
	response response
	parts    turn.Answer // as the model gave them
	open     chat.DeltaKind
	sequence int
	probable []api.Probability // of the message
}

func newWriter(c *api.Call, t *dialog.Turn, tools *shown, r *request, j turn.Job) *writer {
	w := &writer{call: c, turn: t, prompt: j.Prompts[0].Prompt, tools: tools, logProbs: j.LogProbs}
	w.response = response{
		ID: api.NewID("resp_"), Object: "response", Created: time.Now().Unix(), Status: inProgress, Model: c.Model, Output: []output{},
		Instructions: r.Instructions, MaxTokens: r.MaxTokens, Parallel: r.Parallel == nil || *r.Parallel, Reasoning: map[string]*string{"effort": nil, "summary": nil},
		Temperature: j.Sampling.Temperature, TopP: j.Sampling.TopP, Truncation: "disabled", Metadata: map[string]string{},
		Tools: append([]jsontext.Value{}, r.Tools...), ToolChoice: r.ToolChoice,
	}
	if w.response.ToolChoice == nil {
		w.response.ToolChoice = jsontext.Value(`"auto"`)
	}
	if r.Reasoning.Effort != "" {
		w.response.Reasoning["effort"] = &r.Reasoning.Effort
	}
	w.response.Text.Format.Type = "text"
	if kind := r.Text.Format.Type; kind != "" {
		w.response.Text.Format.Type = kind
	}
	return w
}

// frame numbers an event.
func (w *writer) frame(e event) api.Frame {
	e.Sequence = w.sequence
	w.sequence++
	return api.Frame{Event: e.Type, Data: e}
}

// whole is an event with the response as it is now.
func (w *writer) whole(kind string) api.Frame {
	now := w.response
	now.Output = slices.Clone(now.Output)
	return w.frame(event{Type: "response." + kind, Response: &now})
}

// Open begins the response.
func (w *writer) Open() []api.Frame {
	return []api.Frame{w.whole("created"), w.whole(inProgress)}
}

// Alive is the response as it is.
func (w *writer) Alive() api.Frame { return w.whole(inProgress) }

// Event sends what an event adds.
func (w *writer) Event(e turn.Event) (frames []api.Frame) {
	if e.End != nil {
		return w.end(e.End)
	}
	for i, d := range e.Deltas {
		kind := d.Kind
		if kind == chat.DeltaArguments {
			kind = chat.DeltaCall
		}
		if kind != w.open || d.Kind == chat.DeltaCall {
			frames = append(frames, w.close(completed)...)
			w.open = kind
			frames = append(frames, w.begin(d)...)
		}
		w.parts.Add(d)
		var list []api.Probability
		if i == 0 && w.logProbs && d.Kind == chat.DeltaContent {
			list = api.Probabilities(w.call.Engine.Model(), e.Tokens)
			w.probable = append(w.probable, list...)
		}
		frames = append(frames, w.add(d, list)...)
	}
	return frames
}

// last is the item that is open, and its index.
func (w *writer) last() (*output, *int) {
	n := len(w.response.Output) - 1
	return &w.response.Output[n], &n
}

// begin opens an item, and its content if it has one.
func (w *writer) begin(d chat.Delta) []api.Frame {
	var item output
	switch d.Kind {
	case chat.DeltaReasoning:
		item = output{ID: api.NewID("rs_"), Type: "reasoning", Summary: &[]content{}, Content: &[]content{}}
	case chat.DeltaContent:
		item = output{ID: api.NewID("msg_"), Type: "message", Role: chat.RoleAssistant, Content: &[]content{}}
	default:
		item = w.callItem(d.Text)
	}
	item.Status = inProgress
	w.response.Output = append(w.response.Output, item)
	_, index := w.last()
	frames := []api.Frame{w.frame(event{Type: "response.output_item.added", Output: index, Item: &item})}
	if item.Content != nil {
		part := w.part("")
		frames = append(frames, w.frame(event{Type: "response.content_part.added", ItemID: item.ID, Output: index, Content: new(int), Part: &part}))
	}
	return frames
}

// callItem begins a call: of a tool with one text for its argument, or of a function.
func (w *writer) callItem(name string) output {
	item := output{ID: api.NewID("fc_"), Type: "function_call", CallID: api.NewID("call_"), Name: name, Namespace: w.tools.namespace[name], Arguments: new(string)}
	if slices.Contains(w.tools.custom, name) {
		item.ID, item.Type, item.Arguments, item.Input = api.NewID("ctc_"), "custom_tool_call", nil, new(string)
	}
	return item
}

// part is the content of the open item.
func (w *writer) part(text string) content {
	if w.open == chat.DeltaReasoning {
		return content{Type: "reasoning_text", Text: text}
	}
	list := append([]api.Probability{}, w.probable...)
	return content{Type: "output_text", Text: text, Annotations: &[]string{}, LogProbs: &list}
}

// add continues the open item.
func (w *writer) add(d chat.Delta, list []api.Probability) []api.Frame {
	item, index := w.last()
	out := event{ItemID: item.ID, Output: index, Delta: d.Text}
	switch {
	case d.Kind == chat.DeltaReasoning:
		out.Type, out.Content = "response.reasoning_text.delta", new(int)
	case d.Kind == chat.DeltaContent:
		list = append([]api.Probability{}, list...)
		out.Type, out.Content, out.LogProbs = "response.output_text.delta", new(int), &list
	case d.Kind == chat.DeltaArguments && item.Input == nil:
		out.Type = "response.function_call_arguments.delta"
	default: // a name, which has been sent; a custom tool's input comes when it is whole
		return nil
	}
	return []api.Frame{w.frame(out)}
}

// close ends the open item, if there is one.
func (w *writer) close(status string) (frames []api.Frame) {
	if w.open == 0 {
		return nil
	}
	item, index := w.last()
	item.Status = status
	switch w.open {
	case chat.DeltaReasoning:
		item.Encrypted = seal(w.parts.Message().Reasoning)
		frames = w.closeText(w.parts.Message().Reasoning, "response.reasoning_text.done")
	case chat.DeltaContent:
		frames = w.closeText(w.parts.Message().Content, "response.output_text.done")
	default:
		frames = w.closeCall(w.parts.Last())
	}
	w.open = 0
	done := *item
	return append(frames, w.frame(event{Type: "response.output_item.done", Output: index, Item: &done}))
}

// closeText ends a text.
func (w *writer) closeText(text, kind string) []api.Frame {
	item, index := w.last()
	part := w.part(text)
	item.Content = &[]content{part}
	return []api.Frame{
		w.frame(event{Type: kind, ItemID: item.ID, Output: index, Content: new(int), Text: &text, LogProbs: part.LogProbs}),
		w.frame(event{Type: "response.content_part.done", ItemID: item.ID, Output: index, Content: new(int), Part: &part}),
	}
}

// closeCall ends a call.
func (w *writer) closeCall(c chat.ToolCall) []api.Frame {
	item, index := w.last()
	if item.Input == nil {
		item.Arguments = &c.Arguments
		return []api.Frame{w.frame(event{Type: "response.function_call_arguments.done", ItemID: item.ID, Output: index, Name: c.Name, Arguments: &c.Arguments})}
	}
	input := inputOf(c.Arguments)
	item.Input = &input
	var frames []api.Frame
	if input != "" {
		frames = append(frames, w.frame(event{Type: "response.custom_tool_call_input.delta", ItemID: item.ID, Output: index, Delta: input}))
	}
	return append(frames, w.frame(event{Type: "response.custom_tool_call_input.done", ItemID: item.ID, Output: index, Input: &input}))
}

// inputOf is the one argument of a custom tool. Arguments of another form stay as they
// are: they are not what was asked for, and nothing is to be made up.
func inputOf(arguments string) string {
	var v struct {
		Input *string `json:"input"`
	}
	if err := json.Unmarshal([]byte(arguments), &v); err != nil || v.Input == nil {
		return arguments
	}
	return *v.Input
}

// end closes the response.
func (w *writer) end(e *turn.End) []api.Frame {
	r, m := &w.response, w.parts.Message()
	r.Status = completed
	if e.Reason == turn.Length {
		r.Status, r.Incomplete = incomplete, &reason{"max_output_tokens"}
	} else {
		r.Smelt = w.call.Report(w.turn.Check(m))
	}
	w.call.Remember(w.prompt, e, w.named(m))
	u := &usage{Input: e.Usage.Prompt, Output: e.Usage.Completion, Total: e.Usage.Prompt + e.Usage.Completion}
	u.OfInput.Cached, u.OfOutput.Reasoning = e.Usage.Cached, e.Usage.Reasoning
	r.Usage = u
	return append(w.close(r.Status), w.whole(r.Status))
}

// named gives a message the ids of its items.
func (w *writer) named(m chat.Message) chat.Message {
	calls := 0
	for _, item := range w.response.Output {
		switch {
		case item.Type == "reasoning":
			m.ReasoningID = item.ID
		case item.CallID != "":
			m.ToolCalls[calls].ID = item.CallID
			calls++
		}
	}
	return m
}

// Fail says that the response failed.
func (w *writer) Fail(e *api.Error) []api.Frame {
	code := "server_error"
	if e.Code != "" {
		code = e.Code
	}
	frames := w.close(incomplete)
	w.response.Status, w.response.Error = failed, &failure{code, e.Message}
	return append(frames, w.whole(failed))
}

// Close adds nothing: the response has ended.
func (*writer) Close() []api.Frame { return nil }

// Whole is the response.
func (w *writer) Whole() any { return w.response }

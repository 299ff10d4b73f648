// Package api is what the server's protocols have in common: reading requests, the forms
// of errors, streams of events, and the way from a job to its answer.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/recall"
	"smelt.example/smelt/internal/server/turn"
	"smelt.example/smelt/runtime/sampling"
)

// Options say how requests are answered.
type Options struct {
	// MaxBody is the limit of a body in bytes.
	MaxBody int64
	// MaxTokens is the limit of a text; 0 means what is left of the context.
	MaxTokens int
	// NoThinking has the model answer directly where a request says nothing.
	NoThinking bool
	// Effort is how long it reasons where a request does not say; "" is the format's own.
	Effort string
	// StrictModel refuses requests that name another model.
	StrictModel bool
	// LogPrompts writes prompts to the log.
	LogPrompts bool
	// KeepAlive is after how long a silent stream gets a sign of life, PlainKeepAlive
	// after how long an answer in one piece does; 0 means never.
	KeepAlive, PlainKeepAlive time.Duration
	// WriteTimeout is how long a client may take nothing before it counts as gone.
	WriteTimeout time.Duration
}

// Meter counts what happens to texts.
type Meter interface {
	// TextBegins and TextEnds are told of each text, and with its end what it came to.
	TextBegins()
	TextEnds(e *turn.End)
}

// Call is one request on its way to its answer.
type Call struct {
	ID      string
	Engine  engine.Engine
	Options *Options
	Meter   Meter
	Memory  *recall.Memory
	Shape   Shape
	// Model is the id that the request asked for; answers give it back.
	Model string
	// Name is the part of the path that names something, for endpoints that have one.
	Name string

	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	status  int  // sent; 0 before
	deaf    bool // the client takes nothing any more
	attrs   []slog.Attr
}

// NewCall begins a call.
func NewCall(w http.ResponseWriter, r *http.Request) *Call {
	return &Call{ID: NewID("req_"), w: w, r: r, control: http.NewResponseController(w)}
}

// NewID makes an id of more than 120 random bits.
func NewID(prefix string) string { return prefix + rand.Text() }

// Context ends when the client leaves.
func (c *Call) Context() context.Context { return c.r.Context() }

// Note adds to the request's line in the log.
func (c *Call) Note(key string, value any) { c.attrs = append(c.attrs, slog.Any(key, value)) }

// Skipped notes of which kind something is that is passed over: each kind once, and a
// few of them, since a request may have any number, of any length.
func (c *Call) Skipped(key, kind string) {
	const most = 8
	kind = fmt.Sprintf("%.40s", kind)
	known := 0
	for _, a := range c.attrs {
		if a.Key != key {
			continue
		}
		if known++; known == most || a.Value.String() == kind {
			return
		}
	}
	c.Note(key, kind)
}

// Notes are what was noted, Status is that of the answer.
func (c *Call) Notes() []slog.Attr { return c.attrs }

// Status is that of the answer; 0 if none was sent.
func (c *Call) Status() int { return c.status }

// over is why a request's answer is wanted no more: its client left, or the server ends.
func (c *Call) over() error {
	switch {
	case c.Left():
		return &goneError{c.Context().Err()}
	case c.Context().Err() != nil:
		return engine.ErrClosed
	}
	return nil
}

// Left tells whether the client has left.
func (c *Call) Left() bool {
	return c.deaf || c.Context().Err() != nil && !errors.Is(context.Cause(c.Context()), engine.ErrClosed)
}

// SetHeader sets a header of an answer that has not begun.
func (c *Call) SetHeader(key, value string) { c.w.Header().Set(key, value) }

// writing spells answers. What is given back of a request may be as lax as that was.
var writing = json.JoinOptions(reading, json.Deterministic(true), json.FormatNilMapAsNull(true))

// JSON answers with a value.
func (c *Call) JSON(status int, v any) error {
	data, err := json.Marshal(v, writing)
	if err != nil {
		return err
	}
	c.SetHeader("Content-Type", "application/json")
	return c.Raw(status, append(data, '\n'))
}

// Raw answers with bytes.
func (c *Call) Raw(status int, data []byte) error {
	if c.status == 0 {
		c.status = status
		c.w.WriteHeader(status)
	}
	return c.write(data)
}

// write sends bytes. A client that takes none for long is gone.
func (c *Call) write(data []byte) error {
	c.control.SetWriteDeadline(time.Now().Add(c.Options.WriteTimeout))
	_, err := c.w.Write(data)
	if err == nil {
		err = c.control.Flush()
	}
	if err != nil {
		c.deaf = true
		return &goneError{err}
	}
	return nil
}

// goneError is that of a client that takes nothing any more.
type goneError struct{ err error }

func (e *goneError) Error() string { return "the client is gone: " + e.err.Error() }

func (e *goneError) Unwrap() error { return e.err }

// Fail answers with an error, if no answer has begun.
func (c *Call) Fail(err error) {
	e := ErrorOf(err)
	c.Note("error", e.Message)
	if e.Cause != nil {
		c.Note("cause", e.Cause.Error())
	}
	if c.status != 0 {
		return
	}
	if e.Status == http.StatusUnauthorized {
		c.SetHeader("WWW-Authenticate", "Bearer")
	}
	if e.RetryAfter > 0 {
		c.SetHeader("Retry-After", fmt.Sprint(e.RetryAfter))
	}
	status := e.Status
	if status == http.StatusServiceUnavailable {
		status = c.Shape.Unavailable
	}
	if err := c.JSON(status, c.Shape.Body(e, c.ID)); err != nil {
		c.Note("write", err.Error())
	}
}

// maxModel is the limit of a model's name in bytes: each piece of a stream has it.
const maxModel = 1024

// Resolve notes which model was asked for.
func (c *Call) Resolve(model string) error {
	if len(model) > maxModel {
		return Invalid("model", "found %d bytes, expected at most %d", len(model), maxModel)
	}
	c.Model = model
	own := c.Engine.Model().ID
	if model == "" {
		c.Model = own
	}
	c.Note("model", c.Model)
	if c.Options.StrictModel && c.Model != own {
		return &Error{Status: http.StatusNotFound, Param: "model", Code: "model_not_found", Message: fmt.Sprintf("the model %.100q does not exist here; the only one is %q", model, own)}
	}
	return nil
}

// Sampling is what requests of all protocols may say about picking tokens; nil is not
// said.
type Sampling struct {
	Temperature, TopP, MinP         *float64
	TopK                            *int64
	Presence, Frequency, Repetition *float64
	Seed                            *int64
}

// Pick completes what a request says by what the checkpoint suggests. thinkingTools
// tells that the model reasons and was shown tools.
func (c *Call) Pick(s Sampling, thinkingTools bool) (sampling.Params, error) {
	p := c.Engine.Model().Suggested
	if p.Temperature == 0 { // nothing is suggested
		p.Temperature = 1
	}
	if thinkingTools && (p.TopP == 0 || p.TopP == 1) {
		p.TopP = 0.95 // as the vendor's own servers
	}
	p.Seed = mathrand.Uint64()
	if s.Seed != nil {
		p.Seed = uint64(*s.Seed)
	}
	if k := s.TopK; k != nil {
		if *k < -1 || *k > pick.MaxTopK {
			return p, Invalid("top_k", "found %d, expected -1 or 0 (off) to %d", *k, pick.MaxTopK)
		}
		p.TopK = int(max(*k, 0))
	}
	for _, x := range []struct {
		name       string
		from, to   *float64
		least      float64
		most       float64
		aboveLeast bool
	}{
		{"temperature", s.Temperature, &p.Temperature, 0, 2, false},
		{"top_p", s.TopP, &p.TopP, 0, 1, true},
		{"min_p", s.MinP, &p.MinP, 0, 1, false},
		{"presence_penalty", s.Presence, &p.PresencePenalty, -2, 2, false},
		{"frequency_penalty", s.Frequency, &p.FrequencyPenalty, -2, 2, false},
		{"repetition_penalty", s.Repetition, &p.RepetitionPenalty, 0, pick.MaxRepetition, true},
	} {
		switch {
		case x.from == nil:
		case !(*x.from >= x.least && *x.from <= x.most) || x.aboveLeast && *x.from == x.least:
			above := ""
			if x.aboveLeast {
				above = "above "
			}
			return p, Invalid(x.name, "found %v, expected %s%v to %v", *x.from, above, x.least, x.most)
		default:
			*x.to = *x.from
		}
	}
	return p, nil
}

// Room is how many tokens a text may have: as many as were asked for, if the context and
// the server's limit leave them. It refuses a prompt that leaves none.
func (c *Call) Room(prompt int, param string, asked *int64) (int, error) {
	wanted := int64(math.MaxInt32)
	if asked != nil {
		if *asked < 1 {
			return 0, Invalid(param, "found %d, expected 1 or more", *asked)
		}
		wanted = min(*asked, math.MaxInt32)
	}
	context := c.Engine.Model().Context
	if prompt >= context {
		if asked == nil {
			wanted = 1
		}
		return 0, TooLong(prompt, int(wanted), context)
	}
	most := context - prompt
	if c.Options.MaxTokens > 0 {
		most = min(most, c.Options.MaxTokens)
	}
	return int(min(wanted, int64(most))), nil
}

// MaxStops is how many strings to stop at a request may have.
const MaxStops = 16

// Stops checks strings to stop at; a request without has those of the checkpoint.
func (c *Call) Stops(param string, stops []string) ([]string, error) {
	if stops == nil {
		return c.Engine.Model().Stop, nil
	}
	if len(stops) > MaxStops {
		return nil, Invalid(param, "found %d strings, expected at most %d", len(stops), MaxStops)
	}
	for i, s := range stops {
		if s == "" {
			return nil, Invalid(fmt.Sprintf("%s[%d]", param, i), `found "", expected one character or more`)
		}
		if len(s) > maxStop {
			return nil, Invalid(fmt.Sprintf("%s[%d]", param, i), "found %d bytes, expected at most %d", len(s), maxStop)
		}
	}
	return stops, nil
}

// maxStop is the limit of a string to stop at, in bytes.
const maxStop = 1024

// Report is what smelt has to say beside a protocol.
type Report struct {
	Warnings []string `json:"warnings"`
}

// Report says, in the log too, where an answer is not what was asked for; nil says
// nothing.
func (c *Call) Report(wrong []string) *Report {
	for _, text := range wrong {
		c.Note("warning", text)
	}
	if len(wrong) == 0 {
		return nil
	}
	return &Report{wrong}
}

package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"smelt.example/smelt/internal/server/turn"
)

// Frame is one event of a stream. Without Data it is a comment.
type Frame struct {
	Event   string // its name; "" where a protocol has none
	Data    any    // written as JSON; a Literal as it is
	Comment string
}

// Literal is data that is no JSON.
type Literal string

// Writer makes the answer of one protocol, of the events of a turn. Whether the answer is
// a stream or one piece, it is told the same.
type Writer interface {
	// Open is sent before the first token.
	Open() []Frame
	// Event is what an event adds.
	Event(e turn.Event) []Frame
	// Alive is a sign of life.
	Alive() Frame
	// Fail ends a stream that cannot go on.
	Fail(e *Error) []Frame
	// Close ends a stream when all choices have ended.
	Close() []Frame
	// Whole is the answer in one piece.
	Whole() any
}

// Answer runs a job and sends what it comes to. An error is one that came before the
// answer's first byte.
func (c *Call) Answer(job turn.Job, stream bool, w Writer) error {
	if err := c.over(); err != nil {
		return err
	}
	c.notePrompt(job)
	run, err := turn.Start(c.Context(), c.Engine, job)
	if err != nil {
		return err
	}
	for range job.Texts() {
		c.Meter.TextBegins()
	}
	s := sender{call: c, run: run, writer: w, prompts: job.Prompts, open: job.Texts()}
	defer s.stop()
	if stream {
		return s.stream()
	}
	return s.whole()
}

func (c *Call) notePrompt(job turn.Job) {
	tokens := 0
	for _, p := range job.Prompts {
		tokens += len(p.IDs)
		if c.Options.LogPrompts {
			c.Note("prompt", p.Text)
		}
	}
	c.Note("prompt_tokens", tokens)
}

// sender sends one answer.
type sender struct {
	call    *Call
	run     *turn.Run
	writer  Writer
	prompts []turn.Prompt
	open    int // choices that have not ended
	ends    []*turn.End
	failed  error
}

// stop ends what still runs: nobody waits for it any more.
func (s *sender) stop() {
	s.run.Stop()
	for ; s.open > 0; s.open-- {
		s.call.Meter.TextEnds(&turn.End{Err: context.Canceled})
	}
	s.log()
}

// note takes down the end of a choice.
func (s *sender) note(e turn.Event) {
	if e.End == nil {
		return
	}
	s.open--
	s.ends = append(s.ends, e.End)
	s.call.Meter.TextEnds(e.End)
	if e.End.Err != nil && s.failed == nil {
		s.failed = e.End.Err
	}
}

// log adds to the request's line what its choices came to.
func (s *sender) log() {
	c := s.call
	var tokens int
	var finish []string
	for _, e := range s.ends {
		tokens += e.Usage.Completion
		finish = append(finish, e.Reason.String())
		if e.Markup != nil {
			c.Note("markup", e.Markup.Error())
		}
	}
	if len(s.ends) > 0 {
		first := s.ends[0]
		c.Note("cached_tokens", first.Usage.Cached)
		if first.Usage.Why != "" {
			c.Note("cache_end", first.Usage.Why)
			s.differs(first.Usage)
		}
		c.Note("first_token", first.Times.First.Round(time.Millisecond))
		c.Note("queued", first.Times.Queued.Round(time.Millisecond))
	}
	c.Note("new_tokens", tokens)
	c.Note("finish", strings.Join(finish, ","))
}

// differs adds to the request's line what its prompt has where what is known goes on
// otherwise, and what that has.
func (s *sender) differs(u turn.Usage) {
	if !s.call.Options.LogPrompts || u.Known == nil || len(s.prompts) != 1 { // else it may be any's
		return
	}
	for _, side := range []struct {
		key string
		ids []int32
	}{{"cache_prompt", s.prompts[0].IDs[u.At:]}, {"cache_known", u.Known}} {
		const most = 20 // characters, and so tokens
		text, err := s.call.Engine.Model().Tokenizer.Decode(side.ids[:min(len(side.ids), most)])
		if err == nil {
			r := []rune(text)
			s.call.Note(side.key, string(r[:min(len(r), most)]))
		}
	}
}

// stream sends events as they come. Once it has begun, errors are a part of it.
func (s *sender) stream() error {
	c := s.call
	c.SetHeader("Content-Type", "text/event-stream; charset=utf-8")
	c.SetHeader("Cache-Control", "no-cache")
	c.SetHeader("X-Accel-Buffering", "no") // for a proxy that would collect
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	if err := s.events(); err != nil {
		c.Note("error", err.Error())
	}
	return nil
}

func (s *sender) events() error {
	if err := s.send(s.writer.Open()); err != nil {
		return err
	}
	alive := newAlarm(s.call.Options.KeepAlive)
	defer alive.stop()
	for {
		select {
		case e, more := <-s.run.Events():
			if !more {
				return s.close()
			}
			s.note(e)
			if s.failed != nil {
				return s.fail()
			}
			frames := s.writer.Event(e)
			if len(frames) == 0 {
				continue
			}
			if err := s.send(frames); err != nil {
				return err
			}
			alive.reset()
		case <-alive.rings():
			if err := s.send([]Frame{s.writer.Alive()}); err != nil {
				return err
			}
			alive.reset()
		}
	}
}

func (s *sender) close() error {
	if s.call.over() != nil {
		return s.fail()
	}
	return s.send(s.writer.Close())
}

// reason is why an answer ends early: that its request is over comes before what failed
// for that.
func (s *sender) reason() error {
	if err := s.call.over(); err != nil {
		return err
	}
	return s.failed
}

// fail sends the reason why a stream ends early, unless nobody is there any more.
func (s *sender) fail() error {
	reason := s.reason()
	if errors.As(reason, new(*goneError)) {
		return reason
	}
	e := ErrorOf(reason)
	if e.Cause != nil {
		s.call.Note("cause", e.Cause.Error())
	}
	return errors.Join(e, s.send(s.writer.Fail(e)))
}

// send writes frames at once.
func (s *sender) send(frames []Frame) error {
	var b bytes.Buffer
	for _, f := range frames {
		if f.Data == nil {
			b.WriteString(": " + f.Comment + "\n\n")
			continue
		}
		if f.Event != "" {
			b.WriteString("event: " + f.Event + "\n")
		}
		b.WriteString("data: ")
		if text, ok := f.Data.(Literal); ok {
			b.WriteString(string(text))
		} else if err := json.MarshalWrite(&b, f.Data, writing); err != nil {
			return err
		}
		b.WriteString("\n\n")
	}
	return s.call.write(b.Bytes())
}

// whole sends the answer in one piece, behind newlines if it takes long.
func (s *sender) whole() error {
	alive := newAlarm(s.call.Options.PlainKeepAlive)
	defer alive.stop()
	s.writer.Open()
	for {
		select {
		case e, more := <-s.run.Events():
			if !more {
				if s.call.over() != nil {
					return s.refuse()
				}
				return s.call.JSON(http.StatusOK, s.writer.Whole())
			}
			s.note(e)
			if s.failed != nil {
				return s.refuse()
			}
			s.writer.Event(e)
		case <-alive.rings():
			s.call.SetHeader("Content-Type", "application/json")
			if err := s.call.Raw(http.StatusOK, []byte("\n")); err != nil {
				return err
			}
			alive.reset()
		}
	}
}

// refuse ends an answer in one piece that failed: with its status if it is not sent yet.
func (s *sender) refuse() error {
	reason := s.reason()
	if s.call.status == 0 || errors.As(reason, new(*goneError)) {
		return reason
	}
	e := ErrorOf(reason)
	return errors.Join(reason, s.call.JSON(http.StatusOK, s.call.Shape.Body(e, s.call.ID)))
}

// alarm rings when nothing has been sent for a while.
type alarm struct {
	after time.Duration
	timer *time.Timer
}

func newAlarm(after time.Duration) *alarm {
	a := &alarm{after: after}
	if after > 0 {
		a.timer = time.NewTimer(after)
	}
	return a
}

func (a *alarm) rings() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

func (a *alarm) reset() {
	if a.timer != nil {
		a.timer.Reset(a.after)
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

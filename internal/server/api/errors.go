package api

import (
	"errors"
	"fmt"
	"net/http"

	"smelt.example/smelt/internal/server/dialog"
	"smelt.example/smelt/internal/server/engine"
)

// Error is what a client is told went wrong. Each protocol has a form of its own for it.
type Error struct {
	Status  int
	Message string
	Param   string // the request's field
	Code    string
	// RetryAfter is in how many seconds trying again makes sense; 0 is not said.
	RetryAfter int
	// Overflow says that the prompt has no room in the context. Clients know that by the
	// exact words of their protocol.
	Overflow *Overflow
	// Cause is for the log.
	Cause error
}

// Overflow counts tokens: of the prompt, wanted beside it, and of the context.
type Overflow struct{ Prompt, Wanted, Context int }

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Cause }

// Invalid is an error about a field of a request.
func Invalid(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Param: param, Message: param + ": " + fmt.Sprintf(format, args...)}
}

// TooLong is the error of a prompt that leaves no room in the context.
func TooLong(prompt, wanted, context int) *Error {
	return &Error{Status: http.StatusBadRequest, Param: "messages", Code: "context_length_exceeded", Overflow: &Overflow{prompt, max(wanted, 1), context},
		Message: fmt.Sprintf("This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the messages, %d in the completion). Please reduce the length of the messages or completion.", context, prompt+max(wanted, 1), prompt, max(wanted, 1))}
}

// ErrorOf makes an Error of any other.
func ErrorOf(err error) *Error {
	var own *Error
	var asked *dialog.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &asked):
		return Invalid(asked.Field, "%s", asked.Text)
	case errors.Is(err, engine.ErrBusy):
		return &Error{Status: http.StatusTooManyRequests, Code: "queue_full", RetryAfter: 5, Message: "as many requests run and wait as may; try again later"}
	case errors.Is(err, engine.ErrClosed):
		return &Error{Status: http.StatusServiceUnavailable, RetryAfter: 10, Message: engine.ErrClosed.Error()}
	case errors.Is(err, engine.ErrNoChat):
		return &Error{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "the model failed; the server's log has the reason under this request's id", Cause: err}
}

// Loading is the error while the model opens.
func Loading() *Error {
	return &Error{Status: http.StatusServiceUnavailable, RetryAfter: 5, Message: "the model is loading"}
}

// Shape is how a protocol writes errors.
type Shape struct {
	// Body is what is written.
	Body func(e *Error, requestID string) any
	// Unavailable is the status that the protocol has for a server without room or model.
	Unavailable int
}

var (
	// OpenAI is the shape of OpenAI's protocols, Anthropic that of the Messages protocol.
	OpenAI    = Shape{openAI, http.StatusServiceUnavailable}
	Anthropic = Shape{anthropic, statusOverloaded}
)

func openAI(e *Error, _ string) any {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	b := body{Message: e.Message, Type: openAIType(e.Status)}
	if e.Param != "" {
		b.Param = &e.Param
	}
	if e.Code != "" {
		b.Code = &e.Code
	}
	return struct {
		Error body `json:"error"`
	}{b}
}

func openAIType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "service_unavailable"
	case http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request_error"
}

func anthropic(e *Error, requestID string) any {
	type body struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	b := body{anthropicType(e.Status), e.Message}
	if o := e.Overflow; o != nil {
		b.Message = fmt.Sprintf("prompt is too long: %d tokens > %d maximum", o.Prompt, o.Context)
	}
	return struct {
		Type      string `json:"type"`
		Error     body   `json:"error"`
		RequestID string `json:"request_id"`
	}{"error", b, requestID}
}

func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusInternalServerError:
		return "api_error"
	case http.StatusServiceUnavailable, statusOverloaded:
		return "overloaded_error"
	}
	return "invalid_request_error"
}

// statusOverloaded is what the Messages protocol has in the place of 503.
const statusOverloaded = 529

// Package smelt opens language models and has them continue texts and answer
// messages, with kernels that it compiles for the machine.
//
//	m, err := smelt.Open(ctx, "checkpoint", smelt.Options{})
//	...
//	defer m.Close()
//	g, err := m.Generate(ctx, smelt.Request{Prompt: "Once upon a time"})
//	...
//	for text, err := range g.Text() {
//		...
//	}
//
// A checkpoint is a folder with config.json and files of weights, or one such file, or
// the id of a model in the Hugging Face cache (org/name);
// a bundle is a folder with the kernels that `smelt compile` made of one. The zero
// values of Options and Request mean the defaults.
//
// Errors are for people: they say where, what was expected, what was found and what
// to do. Programs tell them apart by the variables and types of this package.
package smelt

import (
	"context"
	"errors"
	"fmt"

	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/scheduler"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/models"
)

var (
	// ErrBusy: as many requests are generating and waiting as Options allow.
	ErrBusy = scheduler.ErrFull
	// ErrClosed: the model is closed.
	ErrClosed = scheduler.ErrClosed
	// ErrNotHere: the machine lacks what the device needs.
	ErrNotHere = devices.ErrNotHere
	// ErrNoTokenizer: there is no tokenizer beside the weights, so requests need
	// Tokens, and there is no text.
	ErrNoTokenizer = arch.ErrNoTokenizer
	// ErrNoChat: the model was not made for chat, so requests have no Messages.
	ErrNoChat = errors.New("give it a text to continue")
)

// ContextError says that a text has no room in the context.
type ContextError = session.ContextError

// StepError says in which step the device failed.
type StepError = scheduler.StepError

// CheckpointError says that the checkpoint a bundle was compiled from does not open.
type CheckpointError struct {
	Bundle string // its folder
	Err    error
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("the checkpoint of the bundle %s does not open; put it back, or compile it from where it is: %v", e.Bundle, e.Err)
}

func (e *CheckpointError) Unwrap() error { return e.Err }

// OptionError says that a field of Options, Request or sampling.Params makes no
// sense, or which one would have to be another; Names lists them.
type OptionError = option.Error

// MemoryError says that a device was not started since memory does not suffice: how
// much it needs, and how much there is. Where Paging is true Options.AllowPaging would
// have it start. It is an *OptionError too where options would help.
type MemoryError = admission.Error

// UnknownModelError says that config.json names no architecture that smelt knows.
type UnknownModelError = models.UnknownError

// Message is one turn of a conversation: a Role, a Content and, by role, more. An
// assistant's has Reasoning and ToolCalls, each with ID, Name and Arguments, a JSON
// object; of a call that was cut off, its beginning. Its Spellings are the tokens that a model
// wrote it with: sent back, they let a prompt go on where the model was. A tool's message
// has the ToolCallID that it answers. A system's may declare Tools, each as JSON with name, description
// and parameters.
type Message = chat.Message

// Roles of a Message.
const (
	RoleSystem    = chat.RoleSystem
	RoleUser      = chat.RoleUser
	RoleAssistant = chat.RoleAssistant
	RoleTool      = chat.RoleTool
)

// Model is an open model on a device. Its methods are safe for concurrent use.
type Model struct {
	files     *Files
	options   Options // complete
	choice    devices.Choice
	device    device.Device
	scheduler *scheduler.Scheduler
}

// Open opens the checkpoint or bundle at path and starts it on a device. Compiling
// kernels takes seconds to minutes, the first time; ctx may end that. The error is
// that of OpenFiles or of Start.
func Open(ctx context.Context, path string, o Options) (*Model, error) {
	f, err := OpenFiles(path)
	if err != nil {
		return nil, err
	}
	m, err := f.Start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// Files are the model's, for their tokenizer, limits and suggestions. They are the
// Model's to close.
func (m *Model) Files() *Files { return m.files }

// Device is the name of the device that runs the model.
func (m *Model) Device() string { return m.device.Name() }

// DeviceChoice says what runs the model, and why it is the best there is; empty
// reasons mean that Options named it.
func (m *Model) DeviceChoice() (doc, why string) { return m.choice.Kind.Doc, m.choice.Why }

// Pace is how far the step is that runs, for people who wait: how many of its parts are
// done, of how many; a total of 0 where the device does not tell. Parts need not take
// equally long.
func (m *Model) Pace() (done, total int) {
	if d, ok := m.device.(device.Paced); ok {
		return d.Pace()
	}
	return 0, 0
}

// Cache counts what was kept of prompts and texts (Options.CacheRAM), and of what use it was.
func (m *Model) Cache() session.CacheStats { return m.scheduler.Stats().Cache }

// Options are those that the model was opened with, with the defaults filled in.
func (m *Model) Options() Options { return m.options }

// Close ends what is being generated, with ErrClosed, and gives back the device and
// the files.
func (m *Model) Close() error {
	m.scheduler.Close()
	return errors.Join(m.device.Close(), m.files.Close())
}

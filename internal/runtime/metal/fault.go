package metal

import (
	"errors"
	"fmt"
	"strings"

	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// fault says which dispatches a failed command buffer had, why it failed and what
// helps.
func (q *queue) fault(r running) error {
	err := q.api.Failure(r.id)
	what := "while memory was read between kernels"
	if r.first < r.last {
		what = "in a " + r.step.span(r.first, r.last)
	}
	return fmt.Errorf("the GPU failed %s: %w; %w", what, err, help(err))
}

// span names the dispatches from one to before another.
func (s *step) span(from, to int) string {
	if to == from+1 {
		return fmt.Sprintf("%s step, kernel %s", s.plan.Phase, s.jobs[from].kernel)
	}
	return fmt.Sprintf("%s step, kernels %s to %s", s.plan.Phase, s.jobs[from].kernel, s.jobs[to-1].kernel)
}

// help says what to do about a command buffer's failure.
func help(err error) error {
	var e *objc.Error
	if errors.As(err, &e) && e.Domain == objc.CommandBufferErrors {
		for _, r := range reasons {
			if strings.Contains(e.Text, r.text) {
				return r.help
			}
		}
		if advice[e.Code] != nil {
			return advice[e.Code]
		}
	}
	return errors.New("`smelt doctor` runs kernel by kernel and tells which")
}

// advice on why command buffers fail, by Metal's code.
var advice = map[int]error{
	objc.FailedTimeout:       tooLong,
	objc.FailedAccessRevoked: errors.New("the system shut this process out of the GPU after an earlier fault: start again"),
	objc.FailedNotPermitted:  errors.New("the process may not use the GPU now, as in the background of a locked session"),
	objc.FailedOutOfMemory:   option.Errorf("memory ran out: end other programs, or take a smaller %s, %s or %s", option.Name("Context"), option.Name("Chunk"), option.Name("Slots")),
	objc.FailedDeviceRemoved: errors.New("the GPU is gone: start again"),
}

var tooLong = option.Errorf("the system ended it for taking too long: take a smaller %s, and end other programs that use the GPU", option.Name("Chunk"))

// reasons are those that descriptions name and no code of Apple's headers tells
// apart. They are known from reports of other programs: the first is for command
// buffers that the screen waits for, long before the timeout.
var reasons = []struct {
	text string
	help error
}{
	{"ImpactingInteractivity", tooLong},
	{"InnocentVictim", errors.New("another program's work made the GPU fail: start again")},
}

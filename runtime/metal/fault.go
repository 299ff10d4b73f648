package metal

import (
	"errors"
	"fmt"
	"strings"

	"smelt/runtime/metal/objc"
)

// fault says which dispatches a failed command buffer had, why it failed and what
// helps.
func (q *queue) fault(r running) error {
	err := q.api.Failure(r.id)
	what := "while memory was read between kernels"
	if r.first < r.last {
		what = "in a " + q.step.span(r.first, r.last)
	}
	return fmt.Errorf("the GPU failed %s: %w; %s", what, err, help(err))
}

// span names the dispatches from one to before another.
func (s *step) span(from, to int) string {
	if to == from+1 {
		return fmt.Sprintf("%s step, kernel %s", s.plan.Phase, s.jobs[from].kernel)
	}
	return fmt.Sprintf("%s step, kernels %s to %s", s.plan.Phase, s.jobs[from].kernel, s.jobs[to-1].kernel)
}

// help is what to do about a command buffer's failure.
func help(err error) string {
	var e *objc.Error
	if errors.As(err, &e) && e.Domain == objc.CommandBufferErrors {
		for _, r := range reasons {
			if strings.Contains(e.Text, r.text) {
				return r.help
			}
		}
		if advice[e.Code] != "" {
			return advice[e.Code]
		}
	}
	return "`smelt doctor` runs kernel by kernel and tells which"
}

// advice on why command buffers fail, by Metal's code.
var advice = map[int]string{
	objc.FailedTimeout:       tooLong,
	objc.FailedAccessRevoked: "the system shut this process out of the GPU after an earlier fault: start again",
	objc.FailedNotPermitted:  "the process may not use the GPU now, as in the background of a locked session",
	objc.FailedOutOfMemory:   "memory ran out: end other programs, or take a smaller --context, --chunk or --slots",
	objc.FailedDeviceRemoved: "the GPU is gone: start again",
}

const tooLong = "the system ended it for taking too long: take a smaller --chunk, and end other programs that use the GPU"

// reasons are those that descriptions name and no code of Apple's headers tells
// apart. They are known from reports of other programs: the first is for command
// buffers that the screen waits for, long before the timeout.
var reasons = []struct{ text, help string }{
	{"ImpactingInteractivity", tooLong},
	{"InnocentVictim", "another program's work made the GPU fail: start again"},
}

package main

import (
	"sync/atomic"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/progress"
)

// part is how much of the step that runs is done, from 0 to 1.
func part(m *lib.Model) float64 {
	done, total := m.Pace()
	return float64(done) / float64(max(total, 1))
}

// readingPrompt shows how much of a request's prompt, of so many tokens, is read, also within a
// step.
func (s stdio) readingPrompt(m *lib.Model, r *lib.Request, total int) (end func()) {
	chunk := m.Options().Chunk
	var read atomic.Int64
	r.Progress = func(done, _ int) { read.Store(int64(done)) }
	return s.follow("reading the prompt", int64(total), progress.Tokens, func() float64 {
		done := int(read.Load())
		return float64(done) + part(m)*float64(min(chunk, total-done))
	})
}

// generating shows how many tokens there are where nobody sees the text grow. A pipe may
// lead to a terminal, through less or tee.
func (r *runner) generating(m *lib.Model) (token, end func()) {
	if !r.o.json && !(isTerminal(r.io.err) && isRegular(r.io.out)) {
		return func() {}, func() {}
	}
	var tokens atomic.Int64
	end = r.io.follow("generating", int64(r.o.maxTokens), progress.Tokens, func() float64 { return float64(tokens.Load()) + part(m) })
	return func() { tokens.Add(1) }, end
}

// isRegular reports whether a stream of stdio is a file.
func isRegular(stream any) bool {
	f, ok := fileOf(stream)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/cpu/fault"
)

// runReport is the output of --json. Times are in seconds. Field names are stable;
// docs/json.md explains them. After an error the rest is what came before it.
// lastReport wants the text and the tokens first, and the error last.
type runReport struct {
	Text          string       `json:"text"`
	Tokens        []int32      `json:"tokens"`
	PromptTokens  int          `json:"prompt_tokens"`
	StopReason    string       `json:"stop_reason"`
	StopString    string       `json:"stop_string,omitempty"` // that ended the text, if one did
	Seed          uint64       `json:"seed"`
	Device        string       `json:"device"`
	PromptSeconds float64      `json:"prompt_seconds"`
	DecodeSeconds float64      `json:"decode_seconds"`
	Message       *runMessage  `json:"message,omitempty"`  // with --chat
	LogProbs      []runLogProb `json:"logprobs,omitempty"` // with --logprobs
	Others        []oneText    `json:"others,omitempty"`   // with --n
	Error         *string      `json:"error"`
}

// oneText is one of several texts.
type oneText struct {
	Text          string       `json:"text"`
	Tokens        []int32      `json:"tokens"`
	StopReason    string       `json:"stop_reason"`
	StopString    string       `json:"stop_string,omitempty"`
	DecodeSeconds float64      `json:"decode_seconds"`
	Message       *runMessage  `json:"message,omitempty"`
	LogProbs      []runLogProb `json:"logprobs,omitempty"`
}

// runMessage is an answer taken apart.
type runMessage struct {
	Reasoning string `json:"reasoning"`
	Content   string `json:"content"`
}

// tokenLogProb is how probable a token was.
type tokenLogProb struct {
	Token   int32   `json:"token"`
	Text    string  `json:"text"`
	LogProb float64 `json:"logprob"`
}

// runLogProb is a token of a text, and the most probable ones in its place.
type runLogProb struct {
	tokenLogProb
	Top []tokenLogProb `json:"top"`
}

// maxLogProbs bounds --logprobs: a report has a line or so for each.
const maxLogProbs = 100

// stopError is the reason of a text that an error ended.
const stopError = "error"

// finish reports on texts, of which err ended the last or nothing did but itself.
func (r *runner) finish(all []runOutput, err error) error {
	failed := err != nil && !errors.Is(err, context.Canceled)
	switch {
	case failed && r.o.json:
		return errors.Join(err, r.encodeReport(r.report(all, err)))
	case failed:
		return err
	case r.o.json:
		err = r.encodeReport(r.report(all, nil))
	default:
		r.printReport(all)
		err = nil
	}
	if err == nil && interruptedText(all) {
		err = fmt.Errorf("%w, and %w", errInterrupted, errReported)
	}
	return err
}

// report is the first text, with the others in it, and the error that ended the last.
func (r *runner) report(all []runOutput, err error) runReport {
	texts := make([]oneText, len(all))
	for i, out := range all {
		texts[i] = oneText{out.Text, out.Tokens, string(out.Reason), out.StopString, out.TextTime.Seconds(), nil, out.logProbs}
		if r.o.chat {
			texts[i].Message = &runMessage{out.Message.Reasoning, out.Message.Content}
		}
		if out.Tokens == nil {
			texts[i].Tokens = []int32{} // none is [] in JSON, not null
		}
	}
	if err != nil {
		texts[len(texts)-1].StopReason = stopError
	}
	x, first := texts[0], all[0]
	return runReport{
		Text: x.Text, Tokens: x.Tokens, PromptTokens: first.PromptTokens, StopReason: x.StopReason, StopString: x.StopString,
		Seed: first.Sampling.Seed, Device: r.device, PromptSeconds: first.PromptTime.Seconds(), DecodeSeconds: x.DecodeSeconds,
		Message: x.Message, LogProbs: x.LogProbs, Others: texts[1:], Error: reported(err),
	}
}

// reported is an error as reports have it, null for none.
func reported(err error) *string {
	if err == nil {
		return nil
	}
	text := option.Text(err, flagOf)
	return &text
}

func (r *runner) encodeReport(report runReport) error {
	return json.NewEncoder(r.io.out).Encode(report)
}

// A lastReport is the report of --json as it stands, kept where the process finds it
// if it ends in a kernel that reads a file which was cut short: see package fault.
type lastReport struct {
	report         runReport
	prompt         int
	text, tokens   []byte // what is between the quotes and brackets
	started, first time.Time
}

// lastReport is nil if there will be no report, and where there will be one of several texts,
// which a process that ends so does not print.
func (r *runner) lastReport(prompt int, seed uint64) *lastReport {
	if !r.o.json || r.o.texts > 1 {
		return nil
	}
	return &lastReport{report: runReport{Tokens: []int32{}, StopReason: stopError, Seed: seed, Device: r.device}, prompt: prompt, started: time.Now()}
}

// publish puts the report where the process finds it.
func (l *lastReport) publish() error {
	if l == nil {
		return nil
	}
	before, after, err := l.halves()
	if err != nil {
		return err
	}
	return fault.Report(before, after)
}

// add notes a token.
func (l *lastReport) add(t lib.Token) error {
	if l == nil {
		return nil
	}
	if l.first.IsZero() {
		l.first = time.Now()
		l.report.PromptTokens, l.report.PromptSeconds = l.prompt, l.first.Sub(l.started).Seconds()
	}
	l.report.DecodeSeconds = time.Since(l.first).Seconds()
	text, err := json.Marshal(t.Text)
	if err != nil {
		return err
	}
	l.text = append(l.text, text[1:len(text)-1]...)
	if t.ID >= 0 { // -1 has text of the tokens before
		if len(l.tokens) > 0 {
			l.tokens = append(l.tokens, ',')
		}
		l.tokens = strconv.AppendInt(l.tokens, int64(t.ID), 10)
	}
	return l.publish()
}

// end takes the report back: it is going to be printed.
func (l *lastReport) end() error {
	if l == nil {
		return nil
	}
	return fault.Report(nil, nil)
}

// halves are the report's JSON before and after what the error says.
func (l *lastReport) halves() (before, after []byte, err error) {
	rest, err := json.Marshal(l.report)
	if err != nil {
		return nil, nil, err
	}
	rest = bytes.TrimSuffix(bytes.TrimPrefix(rest, []byte(`{"text":"","tokens":[]`)), []byte("null}"))
	before = fmt.Appendf(nil, `{"text":"%s","tokens":[%s]%s`, l.text, l.tokens, rest)
	return before, []byte("}\n"), nil
}

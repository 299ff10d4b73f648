package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"smelt.example/smelt/internal/perplexity"
)

// evalReport is the output of --json. What is no finite number is null.
type evalReport struct {
	Tokens     int      `json:"tokens"`
	Predicted  int      `json:"predicted"`
	Loss       *float64 `json:"loss"` // nats per token; null for a single token too
	Perplexity *float64 `json:"perplexity"`
	Precision  int      `json:"precision"`
	Seconds    float64  `json:"seconds"`

	Device   string `json:"device"`
	Compiled int    `json:"kernels_compiled"` // for this run; code of others was kept
	// Windows is how many the text was read in, of at most Context tokens each; Stride is
	// how far apart they begin, 0 for a single one. Read counts tokens of all windows.
	Windows         int       `json:"windows"`
	Context         int       `json:"context"`
	Stride          int       `json:"stride"`
	Read            int       `json:"read"`
	TokensPerSecond float64   `json:"tokens_per_second"` // of Read
	KL              *klReport `json:"kl"`                // null without --kl
	Error           *string   `json:"error"`             // what ended the text before its end
}

// klReport compares with the logits of a file: divergences in nats, shares of 1.
type klReport struct {
	File       string   `json:"file"`
	Rows       int      `json:"rows"`
	Mean       *float64 `json:"mean"`
	Median     *float64 `json:"median"`
	P99        *float64 `json:"p99"`
	Max        *float64 `json:"max"`
	SameTop    float64  `json:"same_top"`
	Loss       *float64 `json:"loss"` // of the file's logits
	Perplexity *float64 `json:"perplexity"`
}

// broken reports for programs on the tokens that were scored before an error, which
// stays one.
func (e *evaluation) broken(s *perplexity.Scores, reads int, seconds float64, err error) error {
	if !e.o.json || s == nil {
		return err
	}
	e.report.Error = reported(err)
	return errors.Join(err, e.print(s, reads, seconds))
}

// print writes what a text came to.
func (e *evaluation) print(s *perplexity.Scores, reads int, seconds float64) error {
	loss := s.Loss()
	r := &e.report
	r.Tokens, r.Predicted, r.Precision, r.Seconds = len(e.tokens), len(s.LogProbs), e.o.precision, seconds
	r.Windows, r.Context, r.Read, r.TokensPerSecond = len(e.windows), e.sizes.Context, reads, float64(reads)/seconds
	if r.Windows > 1 {
		r.Stride = e.o.stride
	}
	if e.o.json {
		r.Loss, r.Perplexity = finite(loss), finite(perplexity.Perplexity(loss))
		r.KL = e.compared(s.Against)
		return json.NewEncoder(e.io.out).Encode(r)
	}
	text := "1 token; a loss needs two\n"
	if r.Predicted > 0 {
		text = fmt.Sprintf("%s, over %s\n", lossText(loss), plural(r.Predicted, "predicted token"))
	}
	if a := s.Against; a != nil {
		text += e.againstText(a, r.Predicted > 0)
	}
	if _, err := fmt.Fprint(e.io.out, text); err != nil {
		return err
	}
	if r.Windows > 1 {
		fmt.Fprintf(e.io.err, "%s in %d windows of up to %d, %d after each other; each scored with %d or more before it, but in the first window\n",
			plural(r.Tokens, "token"), r.Windows, r.Context, r.Stride, r.Context-r.Stride)
	}
	fmt.Fprintf(e.io.err, "%s in float%d on device %s\n", rate(reads, seconds), r.Precision, r.Device)
	return nil
}

func lossText(loss float64) string {
	return fmt.Sprintf("loss %.6f nats per token, perplexity %.4f", loss, perplexity.Perplexity(loss))
}

// againstText compares with the file of --kl.
func (e *evaluation) againstText(a *perplexity.Against, predicted bool) (text string) {
	if predicted {
		text = fmt.Sprintf("%s: %s\n", e.o.kl, lossText(a.Loss()))
	}
	return text + fmt.Sprintf("divergence from it, in nats: mean %.3g, median %.3g, 99 %% %.3g, max %.3g\nsame most probable token: %.2f %% of %s\n",
		a.Mean(), a.Quantile(0.5), a.Quantile(0.99), a.Quantile(1), 100*a.SameTop(), plural(len(a.Divergences), "position"))
}

// compared is the same for JSON; nil without --kl.
func (e *evaluation) compared(a *perplexity.Against) *klReport {
	if a == nil || len(a.Divergences) == 0 {
		return nil
	}
	return &klReport{
		File: e.o.kl, Rows: len(a.Divergences), Mean: finite(a.Mean()), Median: finite(a.Quantile(0.5)), P99: finite(a.Quantile(0.99)), Max: finite(a.Quantile(1)),
		SameTop: a.SameTop(), Loss: finite(a.Loss()), Perplexity: finite(perplexity.Perplexity(a.Loss())),
	}
}

// finite is nil for what JSON has no numbers for.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

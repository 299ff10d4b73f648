package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// evalOptions are the flags of `smelt eval`.
type evalOptions struct {
	tokens, tokensFile, textFile string
	logits, trace                string
	chunk, precision             int
	noBOS, json                  bool
	outputOptions
}

func newEval(io stdio) *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval CHECKPOINT",
		Short: "Compute logits, loss and perplexity of a text, for comparison with other engines",
		Long: `Eval feeds tokens to the model on the reference device and prints the loss
(mean negative natural logarithm of each next token's probability) and its
exponential, the perplexity.

--logits writes a safetensors file with the tensors input_ids [T] (I32) and
logits [T, vocabulary] (F32), one row for every position. --trace writes the
named intermediates of all positions: layerN.after_attn and layerN.after_ffn
(residual streams [T, streams, hidden], F32), layerN.experts (ids ascending,
I32), layerN.expert_weights (F32), layerN.index_topk (entries the indexer
chose, ascending, -1 behind, I32) and final_normed [T, hidden] (F32).

The result has the same bits however a text is cut into chunks.

Both files appear complete or not at all. A file that is read, or one in the
folder of a checkpoint or bundle, is never replaced, and one that smelt did not
write only with --force.`,
		Example: `  smelt eval CHECKPOINT --text-file story.txt
  smelt eval CHECKPOINT --tokens 0,465,261,1725 --logits logits.safetensors
  smelt eval CHECKPOINT --tokens-file ids.json --trace trace.safetensors --precision 64`,
		Args:              oneCheckpoint,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return evalCheckpoint(cmd.Context(), io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.tokens, "tokens", "", "token ids, separated by commas")
	f.StringVar(&o.tokensFile, "tokens-file", "", "file of token ids: JSON array, or separated by commas or white space")
	f.StringVar(&o.textFile, "text-file", "", "file of text; the begin-of-sentence token is put before it")
	f.BoolVar(&o.noBOS, "no-bos", false, "with --text-file: do not put that token before it")
	intFlag(f, &o.chunk, "chunk", "", 128, chunks, "tokens per step")
	intFlag(f, &o.precision, "precision", "", 32, limits[int]{least: 32, most: 64, words: "one or the other"}, "compute in float32 or float64")
	f.StringVar(&o.logits, "logits", "", "write all logits to this safetensors file")
	f.StringVar(&o.trace, "trace", "", "write named intermediates to this safetensors file")
	o.flag(f)
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return cmd
}

func (o evalOptions) check(cmd *cobra.Command) error {
	sources := 0
	for _, flag := range []string{"tokens", "tokens-file", "text-file"} {
		if cmd.Flags().Changed(flag) {
			sources++
		}
	}
	switch {
	case sources != 1:
		return fmt.Errorf("expected one of --tokens, --tokens-file and --text-file, got %d", sources)
	case o.noBOS && o.textFile == "":
		return fmt.Errorf("--no-bos only goes with --text-file: token ids are taken as they are")
	case o.precision != 32 && o.precision != 64:
		return fmt.Errorf("--precision must be 32 or 64, is %d", o.precision)
	case o.logits != "" && o.trace != "" && filepath.Clean(o.logits) == filepath.Clean(o.trace):
		return fmt.Errorf("--logits and --trace name the same file, %s", o.logits)
	}
	for _, f := range []struct{ name, path string }{
		{"tokens-file", o.tokensFile}, {"text-file", o.textFile}, {"logits", o.logits}, {"trace", o.trace},
	} {
		if cmd.Flags().Changed(f.name) && f.path == "" {
			return fmt.Errorf("--%s needs the name of a file, is empty", f.name)
		}
	}
	return o.outputOptions.check("--logits or --trace", o.logits, o.trace)
}

func evalCheckpoint(ctx context.Context, io stdio, path string, o evalOptions) error {
	files, err := o.files(path)
	if err != nil {
		return err
	}
	m, err := models.Open(path, models.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	tokens, err := o.input(ctx, m)
	if err != nil {
		return err
	}
	if o.precision == 64 {
		return evaluate[float64](ctx, io, m, tokens, o, files)
	}
	return evaluate[float32](ctx, io, m, tokens, o, files)
}

// evalFiles are the files that eval writes; nil if not asked for.
type evalFiles struct{ logits, trace *output.File }

// files judges what is to be written, before anything is computed.
func (o evalOptions) files(checkpoint string) (f evalFiles, err error) {
	inputs := slices.Concat(modelInputs(checkpoint), textInput("--text-file", o.textFile), textInput("--tokens-file", o.tokensFile))
	if f.logits, err = o.file("--logits", o.logits, output.SafeTensors, inputs...); err != nil {
		return f, err
	}
	if f.trace, err = o.file("--trace", o.trace, output.SafeTensors, inputs...); err != nil {
		return f, err
	}
	if f.logits != nil && f.trace != nil && f.logits.Same(f.trace) {
		return f, fmt.Errorf("--logits %s and --trace %s lead to the same file; give two", o.logits, o.trace)
	}
	return f, nil
}

// input reads the tokens from wherever the flags say.
func (o evalOptions) input(ctx context.Context, m *models.Model) ([]int32, error) {
	var ids []int32
	name := "--tokens"
	var err error
	switch {
	case o.textFile != "":
		name = o.textFile
		ids, err = o.encode(ctx, m)
	case o.tokensFile != "":
		name = o.tokensFile
		var text string
		if text, err = readTextFile(ctx, "--tokens-file", o.tokensFile); err == nil {
			ids, err = parseTokens(text, name)
		}
	default:
		ids, err = parseTokens(o.tokens, name)
	}
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s: no tokens; give at least one", name)
	}
	if len(ids) > m.Context {
		return nil, fmt.Errorf("%s: %d tokens, the model was made for at most %d; give fewer", name, len(ids), m.Context)
	}
	return ids, checkTokens(ids, m.VocabSize, name)
}

func (o evalOptions) encode(ctx context.Context, m *models.Model) ([]int32, error) {
	text, err := readTextFile(ctx, "--text-file", o.textFile)
	if err != nil {
		return nil, err
	}
	tok, err := m.Tokenizer()
	if err != nil {
		return nil, err
	}
	ids, err := tok.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.textFile, err)
	}
	if !o.noBOS {
		ids = m.WithBOS(ids)
	}
	return ids, nil
}

// evalReport is the output of --json.
type evalReport struct {
	Tokens     int      `json:"tokens"`
	Predicted  int      `json:"predicted"`
	Loss       *float64 `json:"loss"` // nats per token; null for a single token, or if it is no finite number
	Perplexity *float64 `json:"perplexity"`
	Precision  int      `json:"precision"`
	Seconds    float64  `json:"seconds"`
}

// evaluation runs a text through the evaluator.
type evaluation[F tensor.Float] struct {
	machine *eval.Machine[F]
	tokens  []int32
	chunk   int
	vocab   int
	trace   *tracer[F] // nil without --trace
	loss    float64    // sum over predicted tokens
	bar     progress
}

func evaluate[F tensor.Float](ctx context.Context, io stdio, m *models.Model, tokens []int32, o evalOptions, files evalFiles) error {
	machine, err := eval.New[F](m.Graph, m.Weights)
	if err != nil {
		return err
	}
	e := &evaluation[F]{machine: machine, tokens: tokens, chunk: o.chunk, vocab: m.VocabSize}
	if files.trace != nil {
		e.trace = newTracer[F](m.Trace)
		machine.Observe = e.trace.observe
	}
	start := time.Now()
	e.bar = newProgress(io.err, len(tokens), "evaluating")
	err = e.write(ctx, files.logits)
	e.bar.Clear()
	if err != nil {
		return err
	}
	if e.trace != nil {
		if err := e.writeTrace(ctx, files.trace); err != nil {
			return err
		}
	}
	return e.report(io, o, time.Since(start).Seconds())
}

func (e *evaluation[F]) writeTrace(ctx context.Context, file *output.File) error {
	return write(ctx, file, func(w io.Writer) error { return e.trace.encode(w, file.Path(), e.tokens) })
}

// write runs all steps, with the logits going to a file if there is to be one.
// On an error no file is left.
func (e *evaluation[F]) write(ctx context.Context, logits *output.File) error {
	if logits == nil {
		return e.steps(ctx, nil)
	}
	t := int64(len(e.tokens))
	return write(ctx, logits, func(w io.Writer) error {
		return safetensors.Encode(w, logits.Path(), []safetensors.Out{
			{Name: "input_ids", DType: safetensors.I32, Shape: []int64{t}, Data: int32Bytes(e.tokens)},
			{Name: "logits", DType: safetensors.F32, Shape: []int64{t, int64(e.vocab)}, Stream: func(w io.Writer) error { return e.steps(ctx, w) }},
		}, map[string]string{output.MetadataKey: "logits"})
	})
}

func (e *evaluation[F]) steps(ctx context.Context, w io.Writer) error {
	for from := 0; from < len(e.tokens); from += e.chunk {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w after %d of %d tokens; nothing was written", errInterrupted, from, len(e.tokens))
		}
		part := e.tokens[from:min(from+e.chunk, len(e.tokens))]
		rows, wanted := make([]ir.Row, len(part)), make([]int, len(part))
		for i, t := range part {
			rows[i] = ir.Row{Token: t, Position: int32(from + i)}
			wanted[i] = i
		}
		out, err := e.machine.Step(rows, wanted)
		if err != nil {
			return err
		}
		logits := out[0].F
		for i := range part {
			if next := from + i + 1; next < len(e.tokens) {
				e.loss -= sampling.LogProb(logits[i*e.vocab:(i+1)*e.vocab], e.tokens[next])
			}
		}
		if w != nil {
			if _, err := w.Write(float32Bytes(logits)); err != nil {
				return err
			}
		}
		e.bar.Set(from + len(part))
	}
	return nil
}

func (e *evaluation[F]) report(io stdio, o evalOptions, seconds float64) error {
	r := evalReport{Tokens: len(e.tokens), Predicted: len(e.tokens) - 1, Precision: o.precision, Seconds: seconds}
	loss := e.loss / float64(r.Predicted)
	perplexity := num.Exp(loss)
	if o.json {
		r.Loss, r.Perplexity = finite(loss), finite(perplexity)
		return json.NewEncoder(io.out).Encode(r)
	}
	text := "1 token; a loss needs two"
	if r.Predicted > 0 {
		text = fmt.Sprintf("loss %.6f nats per token, perplexity %.4f, over %d predicted tokens", loss, perplexity, r.Predicted)
	}
	if _, err := fmt.Fprintln(io.out, text); err != nil {
		return err
	}
	fmt.Fprintf(io.err, "%s in float%d\n", rate(r.Tokens, seconds), o.precision)
	return nil
}

// finite is nil for what JSON has no numbers for.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/perplexity"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/models"
)

// evalOptions are the flags of `smelt eval`.
type evalOptions struct {
	tokens, tokensFile, textFile string
	logits, trace, kl            string
	stride, precision            int
	noBOS, json                  bool
	open                         lib.Options
	outputOptions
}

func newEval(io stdio) *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval CHECKPOINT|BUNDLE",
		Short: "Compute logits, loss and perplexity of a text, or compare logits",
		Long: `Eval feeds tokens to the model and prints the loss (mean negative natural
logarithm of each next token's probability) and its exponential, the perplexity.

The model runs on any device, as with smelt run. The head gives the logits of all
rows of a step: a BUNDLE planned for fewer is planned anew in memory, with the same
kernels. A device that runs kernels works out the logarithm of each token's probability
itself, in float32 and right to about 1e-5, and nothing else leaves it. With --logits
or --kl, and on the reference device, one token's logits at a time leave it; their
probabilities are worked out in float64 on the processor, by all devices in the same way.

A text longer than the context needs --stride: it is read in windows of --context
tokens, each beginning that many tokens after the one before it, from position 0 on
and with empty caches. A token is scored once, in the first window that has it, so
with all tokens before it in the first window and with at least context - stride in
the others. Its first token is never scored. Smaller strides take longer and come
closer to the loss with the whole text before each token.

--logits writes a safetensors file with the tensors input_ids [T] (I32) and
logits [T, vocabulary] (F32), one row for every position. --kl reads such a file, of
the same tokens, and prints how far the model's probabilities are from its: the
Kullback-Leibler divergence D(file || model) after each token, in nats, and how often
both have the same most probable token.

--trace writes the named intermediates of all positions: layerN.after_attn and
layerN.after_ffn (residual streams [T, streams, hidden], F32), layerN.experts (ids
ascending, I32), layerN.expert_weights (F32), layerN.index_topk (entries the indexer
chose, ascending, -1 behind, I32) and final_normed [T, hidden] (F32). It and
--precision 64 are the reference device's, which they take if no other is named.

The reference device evaluates a CHECKPOINT as the model is written, and a BUNDLE with
the bundle's formats of cached rows, which devices with kernels always have: compare
devices by way of a BUNDLE. On the reference device the result has the same bits however
a text is cut into chunks; on others, chunks of other sizes change its rounding.

Files appear complete or not at all. A file that is read, or one in the folder of a
checkpoint or bundle, is never replaced, and one that smelt did not write only with
--force.`,
		Example: `  smelt eval CHECKPOINT --text-file story.txt
  smelt eval BUNDLE --text-file story.txt --context 32 --stride 16
  smelt eval CHECKPOINT --tokens 0,465,261,1725 --logits logits.safetensors
  smelt eval CHECKPOINT --tokens 1,2 --logits a.safetensors && smelt eval BUNDLE --tokens 1,2 --kl a.safetensors
  smelt eval CHECKPOINT --tokens-file ids.json --trace trace.safetensors --precision 64`,
		Args:              oneModel,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return evalModel(cmd.Context(), io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.tokens, "tokens", "", "token ids, separated by commas")
	f.StringVar(&o.tokensFile, "tokens-file", "", "file of token ids: JSON array, or separated by commas or white space")
	f.StringVar(&o.textFile, "text-file", "", "file of text; the begin-of-sentence token is put before it")
	f.BoolVar(&o.noBOS, "no-bos", false, "with --text-file: do not put that token before it")
	intFlag(f, &o.open.Context, "context", "", 0, contexts, "most tokens that are read together (default: the bundle's or the model's)")
	intFlag(f, &o.stride, "stride", "", 0, contexts, "read longer texts in windows, each beginning so many tokens after the one before")
	intFlag(f, &o.open.Chunk, "chunk", "", 0, chunks, "tokens per step (default 128, or the bundle's limit if that is less)")
	f.StringVar(&o.open.Device, "device", devices.Auto, "what runs the model: "+devices.All().Choices())
	intFlag(f, &o.open.Threads, "threads", "", 0, threadCounts(), "threads of --device cpu, 0 for all processors")
	gpuFlag(f, &o.open.GPU)
	targetFlag(cmd, &o.open.Target)
	pagingFlag(f, &o.open.AllowPaging)
	intFlag(f, &o.precision, "precision", "", 32, limits[int]{least: 32, most: 64, words: "one or the other"}, "compute in float32 or float64")
	f.StringVar(&o.logits, "logits", "", "write all logits to this safetensors file")
	f.StringVar(&o.kl, "kl", "", "compare with the logits of this safetensors file")
	f.StringVar(&o.trace, "trace", "", "write named intermediates to this safetensors file")
	o.flag(f)
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	completeDevice(cmd, devices.All(), autoDevice)
	return cmd
}

// referenceOnly names the flag that no other device has; "" if none was given.
func (o *evalOptions) referenceOnly() string {
	switch {
	case o.trace != "":
		return "--trace"
	case o.precision == 64:
		return "--precision 64"
	}
	return ""
}

func (o *evalOptions) check(cmd *cobra.Command) error {
	sources := 0
	for _, flag := range []string{"tokens", "tokens-file", "text-file"} {
		if cmd.Flags().Changed(flag) {
			sources++
		}
	}
	switch only := o.referenceOnly(); {
	case sources != 1:
		return fmt.Errorf("expected one of --tokens, --tokens-file and --text-file, got %d", sources)
	case o.noBOS && o.textFile == "":
		return fmt.Errorf("--no-bos only goes with --text-file: token ids are taken as they are")
	case o.precision != 32 && o.precision != 64:
		return fmt.Errorf("--precision must be 32 or 64, is %d", o.precision)
	case o.logits != "" && o.trace != "" && filepath.Clean(o.logits) == filepath.Clean(o.trace):
		return fmt.Errorf("--logits and --trace name the same file, %s", o.logits)
	case only != "" && o.open.Device != devices.Auto && o.open.Device != referenceName:
		return fmt.Errorf("%s contradicts --device %s: only the %s device has it", only, o.open.Device, referenceName)
	}
	for _, f := range []struct{ name, path string }{
		{"tokens-file", o.tokensFile}, {"text-file", o.textFile}, {"logits", o.logits}, {"trace", o.trace}, {"kl", o.kl},
	} {
		if cmd.Flags().Changed(f.name) && f.path == "" {
			return fmt.Errorf("--%s needs the name of a file, is empty", f.name)
		}
	}
	if err := (deviceOptions{o.open.Device, devices.Options{Target: o.open.Target}}).check(); err != nil {
		return err
	}
	return o.outputOptions.check("--logits or --trace", o.logits, o.trace)
}

func evalModel(ctx context.Context, io stdio, path string, o evalOptions) (err error) {
	out, err := o.files(path)
	if err != nil {
		return err
	}
	files, err := openFiles(io, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	e := &evaluation{io: io, o: o, files: files, out: out}
	if e.sizes, err = files.Complete(o.open); err != nil {
		return err
	}
	if e.tokens, err = o.input(ctx, io, files.Model); err != nil {
		return err
	}
	if err := e.cut(); err != nil {
		return err
	}
	if o.kl != "" {
		if e.base, err = perplexity.OpenBase(o.kl); err == nil {
			defer e.base.Close()
			err = e.base.Check(e.tokens, files.Model.VocabSize)
		}
		if err != nil {
			return fmt.Errorf("--kl: %w", err)
		}
	}
	return e.run(ctx)
}

// evalFiles are the files that eval writes; nil if not asked for.
type evalFiles struct{ logits, trace *output.File }

// files judges what is to be written, before anything is computed.
func (o evalOptions) files(model string) (f evalFiles, err error) {
	inputs := slices.Concat(modelInputs(model), textInput("--text-file", o.textFile), textInput("--tokens-file", o.tokensFile), textInput("--kl", o.kl))
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
func (o evalOptions) input(ctx context.Context, io stdio, m *models.Model) ([]int32, error) {
	var ids []int32
	name := "--tokens"
	var err error
	switch {
	case o.textFile != "":
		name = o.textFile
		ids, err = o.encode(ctx, io, m)
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
	return ids, checkTokens(ids, m.VocabSize, name)
}

func (o evalOptions) encode(ctx context.Context, io stdio, m *models.Model) ([]int32, error) {
	text, err := readTextFile(ctx, "--text-file", o.textFile)
	if err != nil {
		return nil, err
	}
	tok, err := readTokenizer(io, m.Tokenizer)
	if err != nil {
		return nil, err
	}
	end := io.wait("tokenizing")
	ids, err := tok.Encode(text)
	end()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.textFile, err)
	}
	if !o.noBOS {
		ids = m.WithBOS(ids)
	}
	return ids, nil
}

// evaluation is a text on its way through a model.
type evaluation struct {
	io    stdio
	o     evalOptions
	files *lib.Files
	out   evalFiles
	sizes lib.Options // complete

	tokens  []int32
	windows []perplexity.Window
	base    *perplexity.Base // nil without --kl
	report  evalReport
}

// cut makes the windows that the text is read in.
func (e *evaluation) cut() error {
	n, most := len(e.tokens), e.sizes.Context
	switch {
	case e.o.stride >= most:
		return fmt.Errorf("--stride %d: expected less than the %d tokens of a window: each token needs one before it", e.o.stride, most)
	case n > most && e.o.stride == 0 && most > 1:
		return fmt.Errorf("%s: %d tokens, a window has at most %d; give fewer, or --stride %d to score them in windows", e.o.source(), n, most, most/2)
	case n > most && e.o.stride == 0:
		return fmt.Errorf("%s: %d tokens, --context allows %d; give fewer, or a larger context", e.o.source(), n, most)
	}
	e.windows = perplexity.Windows(n, most, e.o.stride)
	if len(e.windows) > 1 && e.o.trace != "" {
		return fmt.Errorf("--trace: the text takes %d windows, and in each its own intermediates; give at most %d tokens", len(e.windows), most)
	}
	return nil
}

// source names the flag or file that the tokens come from.
func (o evalOptions) source() string {
	switch {
	case o.textFile != "":
		return o.textFile
	case o.tokensFile != "":
		return o.tokensFile
	}
	return "--tokens"
}

// run opens the engine and scores the text.
func (e *evaluation) run(ctx context.Context) (err error) {
	if e.o.precision == 64 {
		engine, err := e.newEvaluator()
		if err != nil {
			return err
		}
		e.report.Device = referenceName
		return evaluate(ctx, e, engine)
	}
	engine, err := e.openDevice(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.dev.Close()) }()
	return evaluate(ctx, e, engine)
}

// engine is a perplexity.Engine that shows intermediates.
type engine[F tensor.Float] interface {
	perplexity.Engine[F]
	observe(func(name string, v tensor.Value[F]))
	// scores is perplexity.Options.Score, if the engine has it; else nil.
	scores() func(tokens []int32, first int, targets []int32, scores []float64) error
	// pace is how far the step that runs is, as a device.Paced has it.
	pace() (done, total int)
}

func evaluate[F tensor.Float](ctx context.Context, e *evaluation, by engine[F]) error {
	var trace *tracer[F]
	if e.out.trace != nil {
		trace = newTracer[F](e.files.Model.Trace)
		by.observe(trace.observe)
	}
	reads := perplexity.Reads(e.windows, len(e.tokens))
	var read atomic.Int64
	end := e.io.follow("evaluating", int64(reads), progress.Tokens, func() float64 {
		done, total := by.pace()
		n := int(read.Load())
		return float64(n) + float64(done)/float64(max(total, 1))*float64(min(e.sizes.Chunk, reads-n))
	})
	o := perplexity.Options[F]{Tokens: e.tokens, Windows: e.windows, Chunk: e.sizes.Chunk, Base: e.base, Score: by.scores(), Progress: func(n int) { read.Store(int64(n)) }}
	start := time.Now()
	scores, err := score(ctx, e, by, o)
	end()
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w after %s of %s; nothing was written", errInterrupted, grouped(read.Load()), plural(reads, "token"))
	}
	seconds := time.Since(start).Seconds()
	if err != nil {
		return e.broken(scores, int(read.Load()), seconds, err)
	}
	if trace != nil {
		if err := write(ctx, e.out.trace, func(w io.Writer) error { return trace.encode(w, e.out.trace.Path(), e.tokens) }); err != nil {
			return err
		}
	}
	return e.print(scores, reads, seconds)
}

// score runs all steps, with the logits going to a file if there is to be one. On
// an error no file is left.
func score[F tensor.Float](ctx context.Context, e *evaluation, by perplexity.Engine[F], o perplexity.Options[F]) (scores *perplexity.Scores, err error) {
	if e.out.logits == nil {
		return perplexity.Run(ctx, by, o)
	}
	t, vocab := int64(len(e.tokens)), int64(e.files.Model.VocabSize)
	all := func(w io.Writer) error {
		o.Row = func(logits []F) error {
			_, err := w.Write(float32Bytes(logits))
			return err
		}
		scores, err = perplexity.Run(ctx, by, o)
		return err
	}
	err = e.out.logits.Write(ctx, func(w io.Writer) error {
		return safetensors.Encode(w, e.out.logits.Path(), []safetensors.Out{
			{Name: perplexity.IDs, DType: safetensors.I32, Shape: []int64{t}, Data: int32Bytes(e.tokens)},
			{Name: perplexity.Logits, DType: safetensors.F32, Shape: []int64{t, vocab}, Stream: all},
		}, map[string]string{output.MetadataKey: "logits"})
	})
	return scores, err
}

// room is the context that kernels are compiled for where there is no bundle: enough
// for the text, in powers of two so that texts of about a length share kernels.
func (e *evaluation) room() int {
	const least = 512
	n := max(len(e.tokens), least)
	return min(1<<bits.Len(uint(n-1)), e.sizes.Context)
}

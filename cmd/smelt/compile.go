package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// compileOptions are the flags of `smelt compile`.
type compileOptions struct {
	out, target, dump             string
	cache, keys                   string
	context, chunk, slots, wanted int
	memory                        string
	limit                         int64 // --memory in bytes, 0 for none
	machine                       target.Target
	hash, json                    bool
	outputOptions
}

// The formats caches can have, and what index keys get if nobody says: the
// format of the same precision. fp8 rows with fp4 keys are how DeepSeek-V4 was
// trained.
var (
	cacheFormats = []string{"fp8", "bf16", "f32"}
	keyFormats   = []string{"fp4", "bf16", "f32"}
)

const defaultCache = "fp8"

// compileHelp is the long help.
const compileHelp = `Compile plans how a checkpoint runs and writes the plan with its kernels to a
folder, the bundle. It reads headers and config.json, not weights: those stay
where they are. The peak that it prints is all the memory that running takes.

Opening the bundle compares it with the checkpoint: config.json, the names, sizes
and headers of the files of weights, and where each parameter lies in them. A
difference is an error. This does not notice weights that changed in place with all
that the same; if the files' times of modification differ, a note says so. With
--hash, compile reads all weights and records their SHA-256 beside the bundle, and
smelt verify --hash compares. The cache of the Hugging Face hub names files by
their SHA-256; compile takes it from there. Compiling again without --hash removes
the record.

--cache sets the format of the rows that attention looks at, --keys that of the
index keys that choose among them. Without --keys it follows --cache (fp8: fp4,
bf16: bf16, f32: f32). DeepSeek-V4 was trained with fp8 and fp4.

A bundle in DIR is replaced as a whole: if the compile fails, ends by Ctrl-C, is
killed or the power goes, the old bundle stays; readers find the old or the new one
at any time. Files that smelt did not write stay. Any other folder that is not
empty is refused, and so is one in a checkpoint's folder or around it.
The same checkpoint and flags give the same bytes, but for times.json, which has the
times of modification.`

func newCompile(io stdio) *cobra.Command {
	var o compileOptions
	cmd := &cobra.Command{
		Use:   "compile CHECKPOINT -o DIR",
		Short: "Compile a checkpoint to a bundle of fused kernels",
		Long:  compileHelp,
		Example: `  smelt compile examples/storyteller/checkpoint -o storyteller.smelt
  smelt compile CHECKPOINT -o DIR --context 131072 --slots 2
  smelt compile CHECKPOINT -o DIR --cache f32 --dump-dir stages
  smelt compile CHECKPOINT -o DIR --context 1048576 --memory 192GB
  smelt compile CHECKPOINT -o DIR --hash
  smelt compile CHECKPOINT -o DIR --json | jq .memory.peak`,
		Args:              oneCheckpoint,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return compile(cmd.Context(), io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.out, "output", "o", "", "folder of the bundle")
	f.StringVar(&o.target, "target", "metal", "machine to compile for: "+targetNames())
	f.StringVar(&o.cache, "cache", defaultCache, "format of attended rows: "+strings.Join(cacheFormats, ", "))
	f.StringVar(&o.keys, "keys", "", "format of index keys: "+strings.Join(keyFormats, ", ")+" (default: as --cache)")
	intFlag(f, &o.context, "context", "", 0, contexts, fmt.Sprintf("longest text in tokens (default %d, or the model's if that is less)", bundle.DefaultContext))
	intFlag(f, &o.chunk, "chunk", "", 0, chunks, fmt.Sprintf("most prompt tokens per step (default %d, or the context if that is less)", bundle.DefaultChunk))
	intFlag(f, &o.slots, "slots", "", bundle.DefaultSlots, slotCounts, "texts at once")
	intFlag(f, &o.wanted, "wanted", "", bundle.DefaultWanted, wanteds, "most rows of a step whose logits can be asked for")
	f.StringVar(&o.memory, "memory", "", "refuse a bundle that takes more than this, such as 96GB (a Mac's GPU gets about three quarters of its memory)")
	f.StringVar(&o.dump, "dump-dir", "", "write the module after each pass into this folder, as NN_pass.ir")
	f.BoolVar(&o.hash, "hash", false, "read all weights and record their SHA-256, for smelt verify --hash")
	o.flag(f)
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
	completeWords(cmd, "target", targetsToComplete()...)
	completeWords(cmd, "cache", cacheFormats...)
	completeWords(cmd, "keys", keyFormats...)
	return cmd
}

// targetNames lists the targets, with what "cpu" stands for.
func targetNames() string {
	var graphics, processors []string
	for _, t := range target.All {
		if t.Vector == 0 {
			graphics = append(graphics, t.Name)
		} else {
			processors = append(processors, t.Name)
		}
	}
	return fmt.Sprintf("%s, cpu (this machine's, of %s)", strings.Join(graphics, ", "), strings.Join(processors, ", "))
}

// targetsToComplete are the words that --target takes, with what each is.
func targetsToComplete() []string {
	words := []string{"cpu\tthis machine's processor"}
	for _, t := range target.All {
		words = append(words, t.Name+"\t"+t.Doc)
	}
	return words
}

// check refuses flags that make no sense, before any file is opened.
func (o *compileOptions) check(given func(flag string) bool) error {
	switch {
	case o.out == "":
		return fmt.Errorf("-o is missing: give the folder that the bundle goes to")
	case !slices.Contains(cacheFormats, o.cache):
		return fmt.Errorf("--cache %s: expected %s", o.cache, strings.Join(cacheFormats, ", "))
	case given("keys") && !slices.Contains(keyFormats, o.keys):
		return fmt.Errorf("--keys %s: expected %s", o.keys, strings.Join(keyFormats, ", "))
	case given("dump-dir") && o.dump == "":
		return fmt.Errorf("--dump-dir needs the name of a folder, is empty")
	}
	var err error
	if o.machine, err = target.Named(o.target); err != nil {
		return fmt.Errorf("--target %s: %w", o.target, err)
	}
	if given("memory") {
		limit, err := parseBytes(o.memory)
		if err != nil {
			return fmt.Errorf("--memory: %w", err)
		}
		o.limit = limit
	}
	if !given("keys") {
		o.keys = keyFormats[slices.Index(cacheFormats, o.cache)]
	}
	return o.outputOptions.check("--dump-dir", o.dump)
}

// complete fills in the sizes that follow from the model.
func (o *compileOptions) complete(m *models.Model) error {
	if o.context > m.Context {
		return fmt.Errorf("--context %d: the model was made for at most %d tokens; give no more", o.context, m.Context)
	}
	if o.context == 0 {
		o.context = min(bundle.DefaultContext, m.Context)
	}
	if o.chunk == 0 {
		o.chunk = min(bundle.DefaultChunk, o.context)
	}
	return nil
}

func compile(ctx context.Context, io stdio, path string, o compileOptions) error {
	if bundle.IsBundle(path) {
		return fmt.Errorf("%s is a bundle already; give the checkpoint it was compiled from", path)
	}
	if err := o.judge(path); err != nil {
		return err
	}
	start := time.Now()
	m, err := openCheckpoint(io, path)
	if err != nil {
		return err
	}
	defer m.Close()
	if ctx.Err() != nil {
		return errInterrupted
	}
	noteOddities(io, m)
	if err := o.complete(m); err != nil {
		return err
	}
	end := io.wait("compiling")
	defer end()
	b, err := o.build(ctx, io, path, m)
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		return err
	}
	if o.hash {
		if b.Hashes, err = hashFiles(ctx, io, m.Checkpoint, true); err != nil {
			return err
		}
	}
	if err := o.judgeBundle(path); err != nil { // much may have happened since
		return err
	}
	left, err := b.Write(ctx, o.out)
	end()
	if err != nil {
		return interrupted(err)
	}
	for _, path := range left {
		fmt.Fprintf(io.err, "note: %s was not written by smelt compile and is left there; the rest of that folder, of a bundle before, is gone\n", path)
	}
	if t := b.Plan.Target; t.Memory > 0 && b.Memory().Peak() > t.Memory {
		fmt.Fprintf(io.err, "note: running takes %s; of %s the largest gives kernels %s\n", bytesInWords(b.Memory().Peak()), t.Doc, bytesInWords(t.Memory))
	}
	report, err := summariseBundle(b)
	if err != nil {
		return err
	}
	report.Path, report.Seconds = o.out, time.Since(start).Seconds()
	if o.json {
		return writeIndented(io.out, report)
	}
	if err := report.write(io.out, styleFor(io.out)); err != nil {
		return err
	}
	if b.Hashes != nil {
		read, hub := b.Hashes.Sources()
		fmt.Fprintf(io.err, "recorded the SHA-256 of %s of weights: %d read, %d taken from the hub's cache\n", plural(read+hub, "file"), read, hub)
	}
	fmt.Fprintf(io.err, "compiled in %.1f s\n", report.Seconds)
	return nil
}

// build compiles the model.
func (o *compileOptions) build(ctx context.Context, io stdio, path string, m *models.Model) (*bundle.Bundle, error) {
	options := bundle.Options{
		Lean:    true,
		Target:  o.machine,
		Context: o.context, Chunk: o.chunk, Slots: o.slots, Wanted: o.wanted,
		Formats: passes.Formats{Rows: o.cache, Keys: o.keys},
		Begin:   io.phases(),
	}
	if o.dump != "" {
		options.Dump = o.dumper(ctx, path)
	}
	b, _, err := bundle.Compile(bundle.SourceOf(m), options)
	if err != nil {
		return nil, err
	}
	return b, o.checkMemory(b)
}

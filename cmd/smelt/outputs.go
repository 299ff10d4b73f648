package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/output"
)

// outputOptions are common to commands that write files.
type outputOptions struct {
	force bool
}

func (o *outputOptions) flag(f *pflag.FlagSet) {
	f.BoolVar(&o.force, "force", false, "replace a file that smelt did not write (never one that is read, or in a checkpoint or bundle)")
}

// check refuses --force where nothing is written.
func (o *outputOptions) check(flags string, paths ...string) error {
	for _, p := range paths {
		if p != "" {
			return nil
		}
	}
	if o.force {
		return fmt.Errorf("--force is about files to be written; give %s too, or leave it out", flags)
	}
	return nil
}

// rules are those of a file that a flag names, of a command that reads inputs.
func (o *outputOptions) rules(flag string, format output.Format, inputs ...output.Input) output.Rules {
	return output.Rules{Flag: flag, Format: format, Force: o.force, Inputs: inputs, Kinds: []output.Kind{
		{What: "a checkpoint", Is: formats.LooksLike}, {What: "a bundle", Is: bundle.WasWritten},
	}}
}

// file judges the file that a flag names; it is nil if the flag was not given.
func (o *outputOptions) file(flag, path string, format output.Format, inputs ...output.Input) (*output.File, error) {
	if path == "" {
		return nil, nil
	}
	return output.New(path, o.rules(flag, format, inputs...))
}

// modelInputs lists what a command reads for a checkpoint or a bundle.
func modelInputs(path string) []output.Input {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil // opening it will say so
	case bundle.IsBundle(path):
		inputs := []output.Input{{What: "the bundle", Path: path}}
		if dir := bundle.CheckpointOf(path); dir != "" {
			inputs = append(inputs, output.Input{What: "the bundle's checkpoint", Path: dir})
		}
		return inputs
	case info.IsDir():
		return []output.Input{{What: "the checkpoint", Path: path}}
	}
	inputs := []output.Input{{What: "the checkpoint", Path: path}}
	for _, name := range []string{"config.json", tokenizerName, "generation_config.json"} {
		inputs = append(inputs, output.Input{What: "the checkpoint's " + name, Path: filepath.Join(filepath.Dir(path), name)})
	}
	return inputs
}

// textInput is a file that a flag names, of which there is none if path is empty.
func textInput(flag, path string) []output.Input {
	if path == "" {
		return nil
	}
	return []output.Input{{What: "the file of " + flag, Path: path}}
}

// write writes a judged file; Ctrl-C while a pipe is not taken is an interruption.
func write(ctx context.Context, f *output.File, content func(io.Writer) error) error {
	return interrupted(f.Write(ctx, content))
}

// Command smelt opens DeepSeek-V4 checkpoints where they lie and runs them.
// `smelt help` lists its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/cpu/fault"
)

func main() {
	io := reporting(stdio{os.Stdin, os.Stdout, os.Stderr})
	os.Exit(execute(listen(io.reporter()), os.Args[1:], io))
}

// stdio holds the streams of a command. Results go to out,
// everything else (notes, progress, speed, errors) to err.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

var (
	// errReported is an error that has been shown already.
	errReported = errors.New("reported")
	// errInterrupted is Ctrl-C.
	errInterrupted = errors.New("interrupted")
)

// statusInterrupted is the status that shells give programs that Ctrl-C ended: 128 + SIGINT.
const statusInterrupted = 130

// statusChanged is that of a process whose file of weights was cut short or written
// to while it was in use, whoever notices: a kernel ends the process itself.
const statusChanged = fault.Status

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		err = meantCommand(root, err)
	}
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintf(io.err, "smelt: %s\n", option.Text(err, flagOf))
	}
	switch {
	case errors.Is(err, errInterrupted):
		return statusInterrupted
	case errors.As(err, new(*container.ChangedError)):
		return statusChanged
	case err != nil:
		return 1
	}
	return 0
}

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "smelt",
		Short: "Compile and run DeepSeek-V4 checkpoints",
		Long: `smelt opens DeepSeek-V4 checkpoints exactly as they lie on disk, checks that
every byte of them is understood, compiles them to fused kernels, and runs them.

A CHECKPOINT is a folder with config.json and safetensors files, in DeepSeek's
own layout or one of the common conversions, or one .safetensors file with
config.json beside it, or the id of a model in the Hugging Face cache, such as
org/name or org/name@revision: smelt downloads nothing, hf download org/name does.
A BUNDLE is a folder that smelt compile made of one.`,
		Example: `  smelt run examples/storyteller/checkpoint --prompt "Once upon a time"
  smelt inspect CHECKPOINT
  smelt compile CHECKPOINT -o BUNDLE
  echo "Hello" | smelt tokenize CHECKPOINT`,
		Version:            thisVersion().String(),
		SilenceUsage:       true,
		SilenceErrors:      true,
		DisableSuggestions: true, // see meantCommand
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error { return followIDs(io, cmd, args) }
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(io), newChat(io), newServe(io), newCompile(io), newInspect(io), newVerify(io), newDoctor(io), newEval(io), newBench(io), newTokenize(io), newVersion(io))
	completeKernels(root)
	strict(root)
	completeNumbers(root)
	return root
}

// oneCheckpoint is the argument rule of commands that take a checkpoint.
func oneCheckpoint(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected one CHECKPOINT (a folder or a .safetensors file), got %d arguments (see %s --help)", len(args), cmd.CommandPath())
	}
	return nil
}

// oneModel is the argument rule of commands that take a checkpoint or a bundle.
func oneModel(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected one CHECKPOINT or BUNDLE (a folder), got %d arguments (see %s --help)", len(args), cmd.CommandPath())
	}
	return nil
}

// oneBundle is the argument rule of commands that take a bundle.
func oneBundle(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected one BUNDLE (a folder made by smelt compile), got %d arguments (see %s --help)", len(args), cmd.CommandPath())
	}
	return nil
}

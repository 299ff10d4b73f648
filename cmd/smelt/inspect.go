package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"smelt/ir/text"
	"smelt/models/deepseekv4"
)

// inspectOptions are the flags of `smelt inspect`.
type inspectOptions struct {
	weights, views, ir, json bool
	layer                    int // allLayers, or the only one to show
}

const allLayers = -1

func newInspect(io stdio) *cobra.Command {
	o := inspectOptions{layer: allLayers}
	cmd := &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Show a model's sizes, how its weights are stored, and its graph",
		Long: `Inspect opens a checkpoint, accounts for every byte of it, and prints the model
on one page: its sizes, its parameters, and how they are stored. Headers and
config.json are read, weights are not.

Parameters count the real numbers of the graph. Active ones are those that one
token meets: of routed experts the share that is used, of the embedding one row.
Bits per weight include scales and biases.

--weights lists every parameter instead, with its encoding and the tensors it
is stored in. A view is a run of a parameter's rows in one stored tensor, its
skew the place of its first byte modulo 16; --views leaves a skew of 0 out.
--ir prints the graph in smelt's text form.`,
		Example: `  smelt inspect examples/storyteller/checkpoint
  smelt inspect CHECKPOINT --weights --layer 3
  smelt inspect CHECKPOINT --weights --views --layer 3 | grep experts.w1
  smelt inspect CHECKPOINT --json | jq .parameters.total
  smelt inspect CHECKPOINT --ir > model.ir`,
		Args:              oneCheckpoint,
		ValidArgsFunction: completeCheckpoint("safetensors"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd.Flags().Changed("layer")); err != nil {
				return err
			}
			return inspect(io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&o.weights, "weights", "w", false, "list the parameters and where they are stored")
	f.BoolVar(&o.views, "views", false, "with --weights: every stored tensor, also of experts")
	f.IntVar(&o.layer, "layer", allLayers, "with --weights: only the parameters of this layer, from 0")
	f.BoolVar(&o.ir, "ir", false, "print the graph")
	f.BoolVar(&o.json, "json", false, "print JSON; with --weights it holds every view")
	f.Lookup("layer").DefValue = "all"
	return cmd
}

// check refuses flags that make no sense together, before any file is opened.
func (o inspectOptions) check(layerGiven bool) error {
	switch {
	case o.ir && o.weights:
		return fmt.Errorf("--ir contradicts --weights: each prints something else; give one of them")
	case o.ir && o.json:
		return fmt.Errorf("--ir contradicts --json: the graph is printed in smelt's text form only; leave one of them out")
	case o.views && !o.weights:
		return fmt.Errorf("--views needs --weights")
	case layerGiven && !o.weights:
		return fmt.Errorf("--layer needs --weights")
	case layerGiven && o.layer < 0:
		return fmt.Errorf("--layer must be 0 or more, is %d", o.layer)
	}
	return nil
}

func inspect(io stdio, path string, o inspectOptions) (err error) {
	m, err := deepseekv4.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.layer >= m.Config.Layers {
		return fmt.Errorf("--layer %d: config.json says num_hidden_layers %d; give 0 to %d", o.layer, m.Config.Layers, m.Config.Layers-1)
	}
	w := bufio.NewWriterSize(io.out, 64<<10)
	if err := inspectTo(w, m, o, styleFor(io.out)); err != nil {
		return err
	}
	return w.Flush()
}

func inspectTo(w *bufio.Writer, m *deepseekv4.Model, o inspectOptions, st style) error {
	switch {
	case o.ir:
		return text.Print(w, m.Graph)
	case o.weights && o.json:
		return writeWeightsJSON(w, m, o.layer)
	case o.weights && o.views:
		return writeViews(w, m, o.layer, st)
	case o.weights:
		return writeWeights(w, m, o.layer, st)
	}
	report := summarise(m)
	if o.json {
		return writeIndented(w, report)
	}
	return report.write(w, st)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// completeCheckpoint completes a command's one argument: folders, and files
// with these extensions.
func completeCheckpoint(extensions ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

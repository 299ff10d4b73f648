// Package arch says what smelt asks of a kind of model. A package such as
// deepseekv4 gives one Architecture; package models lists them. Everything that
// opens, compiles, runs or shows a model uses what is here and no package of one.
package arch

import (
	"fmt"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
)

// An Architecture is a kind of model that smelt knows: one row of models' table.
type Architecture struct {
	Name string // for people: "DeepSeek-V4"
	// ModelTypes and Classes are the values by which config.json's model_type
	// and architectures name it.
	ModelTypes, Classes []string
	// Describe reads the configuration of an open checkpoint, looks into the
	// headers of its files where sizes follow from them, and builds the graph. No
	// weight is read. The error says what of the file does not fit.
	Describe func(*checkpoint.Checkpoint) (*Description, error)
}

// A Description is a model before its parameters are found in the checkpoint.
type Description struct {
	Facts
	// Model is the graph with what binds its parameters: the layouts that
	// checkpoints of the architecture come in, what they may hold beside, and what
	// the configuration says of formats.
	Model schema.Model
	// Chat is the model's chat format, nil if it has none.
	Chat chat.Format
}

// Facts hold what a configuration says, in terms that all models share.
type Facts struct {
	Architecture string // its Name
	// VocabSize is the length of a row of logits: token ids are below it.
	VocabSize int
	// Context is how many tokens of text the model was made for.
	Context int
	Layers  int
	// BOS begins a text and EOS ends one. Each lists token ids and may be empty.
	// The first BOS is put before a text; every EOS ends a generation.
	BOS, EOS []int32
	// Stored repeats in words what the configuration says about the formats of weights;
	// empty if it says nothing.
	Stored string
	// Sizes marshals to a JSON object of the architecture's own sizes. Its keys
	// are stable.
	Sizes any
	// Lines are the same sizes for people.
	Lines []Line
	// Trace lists the graph's named values that are worth recording, in the order
	// in which they are computed.
	Trace []string
	// Notes are sentences on what is odd and accepted. Unknown lists the
	// configuration's keys that smelt does not know, sorted, at most 100.
	Notes, Unknown []string
}

// A Line is a property as a page shows it.
type Line struct{ Label, Text string }

// A Model is an open checkpoint: what its configuration says, its graph, and the
// graph's parameters bound to the stored tensors.
type Model struct {
	Facts
	Graph      *ir.Module
	Checkpoint *checkpoint.Checkpoint
	Binding    *checkpoint.Binding
	Chat       chat.Format // nil if the model has none
	sources    map[string]tensor.Source
}

// Bind finds the model of an open checkpoint in its tensors. No weight is read. On
// success closing the model closes the checkpoint. The error is Describe's or
// checkpoint.Bind's.
func (a Architecture) Bind(ck *checkpoint.Checkpoint) (*Model, error) {
	d, err := a.Describe(ck)
	if err != nil {
		return nil, err
	}
	binding, err := checkpoint.Bind(ck, d.Model)
	if err != nil {
		return nil, err
	}
	m := &Model{Facts: d.Facts, Graph: d.Model.Graph, Checkpoint: ck, Binding: binding, Chat: d.Chat, sources: map[string]tensor.Source{}}
	m.Architecture = a.Name
	for i := range binding.Params {
		m.sources[binding.Params[i].Name] = binding.Params[i].Source()
	}
	return m, nil
}

// Standing is a model of another graph, whose parameters are those of m that `on` names
// for theirs: several may be views of the same bytes. It takes m's place, with m's facts
// and checkpoint. The graph's parameters get their encodings.
func (m *Model) Standing(graph *ir.Module, on func(param string) string) (*Model, error) {
	types := map[string]ir.Type{}
	for _, p := range m.Graph.Params {
		types[p.Name] = p.Type
	}
	binding := *m.Binding
	binding.Params = nil
	out := &Model{Facts: m.Facts, Graph: graph, Checkpoint: m.Checkpoint, Binding: &binding, Chat: m.Chat, sources: map[string]tensor.Source{}}
	for _, p := range graph.Params {
		name := on(p.Name)
		bound := m.Binding.Param(name)
		if bound == nil || types[name].String() != p.Type.String() {
			return nil, fmt.Errorf("parameter %s, of type %s, cannot stand on %s, of type %s", p.Name, p.Type, name, types[name])
		}
		q := *bound
		q.Name, p.Encoding = p.Name, bound.Encoding()
		binding.Params = append(binding.Params, q)
		out.sources[p.Name] = q.Source()
	}
	return out, nil
}

// Weights gives a parameter's values by name, or nil; it is an eval.Weights.
func (m *Model) Weights(name string) tensor.Source { return m.sources[name] }

// Close unmaps the checkpoint; sources are not valid after it.
func (m *Model) Close() error { return m.Checkpoint.Close() }

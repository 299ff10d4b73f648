package main

import (
	"io"
	"strconv"

	"smelt.example/smelt/internal/ir/attr"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/passes"
)

// irReport is the output of `smelt inspect --ir --json`: a module with names, types and
// formulas as in the text form. Field names are stable; docs/json.md explains them. Lists
// are never null.
type irReport struct {
	Path       string        `json:"path"`
	Stage      string        `json:"stage"`
	Name       string        `json:"name"`
	Symbols    []irSymbol    `json:"symbols"`
	Inputs     []irInput     `json:"inputs"`
	Parameters []irParameter `json:"parameters"`
	States     []irState     `json:"states"`
	Operations []irOperation `json:"operations"`
	Regions    []irRegion    `json:"regions"`
	Results    []string      `json:"results"`
}

type irSymbol struct {
	Name string `json:"name"`
	Is   string `json:"is"`
}

type irInput struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type irParameter struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Stored string `json:"stored"`
}

type irState struct {
	Name   string `json:"name"`
	Row    string `json:"row"`
	Keep   string `json:"keep"`
	Stored string `json:"stored"`
}

type irOperation struct {
	Result     string        `json:"result"`
	Op         string        `json:"op"`
	Symbol     string        `json:"symbol"`
	Arguments  []string      `json:"arguments"`
	Attributes []irAttribute `json:"attributes"`
	Type       string        `json:"type"`
	Region     string        `json:"region"`
}

type irAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type irRegion struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Yields []string `json:"yields"`
}

// writeModule prints a module, in the text form or as JSON.
func writeModule(w io.Writer, m *ir.Module, path, stage string, asJSON bool) error {
	if asJSON {
		return writeIndented(w, moduleOf(m, path, stage))
	}
	return text.Print(w, m)
}

// moduleOf describes a module.
func moduleOf(m *ir.Module, path, stage string) *irReport {
	r := &irReport{
		Path: path, Stage: stage, Name: m.Name, Symbols: []irSymbol{}, Inputs: []irInput{}, Parameters: []irParameter{},
		States: []irState{}, Operations: []irOperation{}, Regions: []irRegion{},
	}
	refs := irRefs{}
	for _, s := range m.Symbols {
		r.Symbols = append(r.Symbols, irSymbol{s.Name, symbolIs(s)})
	}
	for _, v := range m.Inputs {
		r.Inputs = append(r.Inputs, irInput{refs.define(v), v.Type.String()})
	}
	for _, q := range m.Params {
		r.Parameters = append(r.Parameters, irParameter{q.Name, q.Type.String(), q.Encoding})
	}
	for _, s := range m.States {
		r.States = append(r.States, irState{s.Name, s.Row.String(), s.Keep.String(), s.Stored})
	}
	regions := m.RegionOf()
	for _, n := range m.Nodes {
		o := irOperation{Op: n.Op.Name, Symbol: n.Symbol, Arguments: refs.list(n.Args), Attributes: []irAttribute{}, Type: n.Result.Type.String()}
		for _, f := range attr.Fields(n.Attr) {
			o.Attributes = append(o.Attributes, irAttribute{f.Name, f.Text})
		}
		if of := regions[n]; of != nil {
			o.Region = of.Name
		}
		o.Result = refs.define(n.Result)
		r.Operations = append(r.Operations, o)
	}
	for _, x := range m.Regions {
		r.Regions = append(r.Regions, irRegion{x.Name, x.Kind, refs.list(x.Yields)})
	}
	r.Results = refs.list(m.Results)
	return r
}

// irRefs are values as the text form calls them: by name, or numbered in the order of
// definition.
type irRefs map[*ir.Value]string

func (r irRefs) define(v *ir.Value) string {
	name := v.Name
	if name == "" {
		name = strconv.Itoa(len(r))
	}
	r[v] = "%" + name
	return r[v]
}

func (r irRefs) list(values []*ir.Value) []string {
	refs := make([]string, len(values))
	for i, v := range values {
		refs[i] = r[v]
	}
	return refs
}

// stagesReport is the output of `smelt inspect BUNDLE --ir list --json`.
type stagesReport struct {
	Path   string        `json:"path"`
	Model  string        `json:"model"`
	Stages []stageReport `json:"stages"`
}

// stageReport is the module after a pass.
type stageReport struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
	Did  string `json:"did"`
}

// listStages lists what --ir can print of a bundle.
func listStages(path, model string, stages *passes.Result) *stagesReport {
	r := &stagesReport{Path: path, Model: model}
	for i, s := range stages.Stages {
		of := stageReport{Name: s.Name, Doc: s.Doc}
		if i > 0 {
			of.Did = s.Report.String()
		}
		r.Stages = append(r.Stages, of)
	}
	r.Stages = append(r.Stages, stageReport{Name: stagePlan, Doc: "the last one as the bundle holds it: what was lowered to kernels"})
	return r
}

func (r *stagesReport) write(w io.Writer) error {
	t := table{columns: make([]column, 3), width: lineWidth, flow: []int{1, 2}}
	for _, s := range r.Stages {
		t.add(s.Name, s.Doc, s.Did)
	}
	return t.write(w, "", style{})
}

package report

import (
	"path/filepath"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/passes"
)

// document is the page's data. Texts are in tables of distinct lines, since
// stages and kernels share most of theirs.
type document struct {
	Model   modelDoc    `json:"model"`
	Options []optionDoc `json:"options"`
	Memory  memoryDoc   `json:"memory"`
	Notes   []string    `json:"notes"`
	IR      []string    `json:"ir"`     // lines of stages, see stages.go
	Source  []string    `json:"source"` // lines of kernels
	Exprs   []string    `json:"exprs"`  // formulas of grids and sizes
	Stages  []stageDoc  `json:"stages"`
	Regions []regionDoc `json:"regions"`
	Kernels []kernelDoc `json:"kernels"`
	Steps   []stepDoc   `json:"steps"`
	Caches  []cacheDoc  `json:"caches"`
	Weights []weightDoc `json:"weights"`
}

type modelDoc struct {
	Name       string    `json:"name"`
	Checkpoint string    `json:"checkpoint"`
	Layout     string    `json:"layout"`
	Config     string    `json:"config"`
	Target     string    `json:"target"`
	Language   string    `json:"language"` // of the kernels' text
	Files      []fileDoc `json:"files"`
}

type fileDoc struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// optionDoc is one option with what it is for.
type optionDoc struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	Doc   string `json:"doc"`
}

// memoryDoc is in bytes.
type memoryDoc struct {
	Weights int64  `json:"weights"`
	Caches  int64  `json:"caches"`
	Arena   int64  `json:"arena"`
	Steps   int64  `json:"steps"`
	Peak    int64  `json:"peak"`
	Formula string `json:"formula"`
}

// describe collects the page's data.
func describe(b *bundle.Bundle, stages *passes.Result) (*document, error) {
	t, m := b.Plan.Target, b.Memory()
	doc := &document{
		Model: modelDoc{Name: title(b), Checkpoint: b.Checkpoint, Layout: b.Layout, Config: b.Config, Target: t.String(), Language: string(t.Language)},
		Options: []optionDoc{
			{"context", b.Plan.Context, "tokens of the longest sequence"},
			{"chunk", b.Plan.Chunk, "most rows of a prefill step"},
			{"slots", b.Plan.Slots, "sequences at once"},
			{"wanted", b.Plan.Wanted, "most rows of a step whose logits are asked for"},
			{"cache", b.CacheRows, "format of cache rows"},
			{"keys", b.CacheKeys, "format of index keys"},
		},
		Memory: memoryDoc{m.Weights, m.Caches, m.Arena, m.Steps, m.Peak(), m.Formula},
		Notes:  b.Notes,
	}
	for _, f := range b.Files {
		doc.Model.Files = append(doc.Model.Files, fileDoc{f.Name, f.Bytes})
	}
	doc.Stages, doc.IR = describeStages(b.Module, stages, b.Begin)
	doc.Regions = describeRegions(b.Module)
	var err error
	if doc.Kernels, doc.Source, err = describeKernels(b.Plan.Kernels, t, b.Begin); err != nil {
		return nil, err
	}
	p := newPlanner(b, doc)
	for _, s := range b.Plan.Steps {
		step, err := p.step(s)
		if err != nil {
			return nil, err
		}
		doc.Steps = append(doc.Steps, step)
	}
	doc.Exprs = p.exprs.lines
	return doc, nil
}

// title is the model's name, or the folder of its checkpoint.
func title(b *bundle.Bundle) string {
	if b.Name != "" {
		return b.Name
	}
	return filepath.Base(b.Checkpoint)
}

package main

import (
	"io"
	"regexp"
	"strconv"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/devmem"
)

// bundleReport is the output of `smelt compile --json` and `smelt inspect BUNDLE --json`,
// and the data of their page. Field names are stable; docs/json.md explains them. Lists are
// never null.
type bundleReport struct {
	Path       string       `json:"path"`
	Model      string       `json:"model"`
	Checkpoint string       `json:"checkpoint"`
	Layout     string       `json:"layout"`
	Target     string       `json:"target"`
	Threads    int          `json:"threads"` // of a threadgroup at most
	Context    int          `json:"context"`
	Chunk      int          `json:"chunk"`
	Slots      int          `json:"slots"`
	Wanted     int          `json:"wanted"`
	CacheRows  string       `json:"cache_rows"`
	CacheKeys  string       `json:"cache_keys"`
	Kernels    int          `json:"kernels"`
	Steps      []stepReport `json:"steps"`
	Memory     memoryReport `json:"memory"`
	Seconds    float64      `json:"seconds,omitempty"` // of compile
}

// stepReport sums up the plan of one kind of step.
type stepReport struct {
	Kind           string `json:"kind"`
	MaxRows        int    `json:"max_rows"`
	Dispatches     int    `json:"dispatches"`
	Scoring        int    `json:"scoring_dispatches"` // behind a step that scores tokens
	Barriers       int    `json:"barriers"`
	CommandBuffers int    `json:"command_buffers"`
	Arena          int64  `json:"arena"`
}

// memoryReport counts the bytes that running takes.
type memoryReport struct {
	Weights int64  `json:"weights"`
	Caches  int64  `json:"caches"`
	Arena   int64  `json:"arena"` // of the larger step
	Steps   int64  `json:"step_blocks"`
	Peak    int64  `json:"peak"`
	Formula string `json:"formula"`
	// What a text of full context takes where it is kept beside its slot (--cache-ram).
	KeptFrontier int64 `json:"kept_frontier"`
	KeptEntries  int64 `json:"kept_entries"`
}

func summariseBundle(b *bundle.Bundle) (*bundleReport, error) {
	p, mem := b.Plan, b.Memory()
	frontier, entries, err := devmem.KeptSizes(p)
	if err != nil {
		return nil, err
	}
	r := &bundleReport{
		Path: b.Dir, Model: b.Name, Checkpoint: b.Checkpoint, Layout: b.Layout, Target: p.Target.Name, Threads: p.Target.MaxThreads,
		Context: p.Context, Chunk: p.Chunk, Slots: p.Slots, Wanted: p.Wanted, CacheRows: b.CacheRows, CacheKeys: b.CacheKeys,
		Kernels: len(p.Kernels),
		Memory:  memoryReport{mem.Weights, mem.Caches, mem.Arena, mem.Steps, mem.Peak(), mem.Formula, frontier, entries},
	}
	for _, s := range p.Steps {
		r.Steps = append(r.Steps, stepReport{s.Phase.String(), s.MaxRows, s.Scoring(), len(s.Dispatches) - s.Scoring(), s.Barriers(), s.CommandBuffers(), s.ArenaBytes})
	}
	return r, nil
}

// write prints the report as a page for people.
func (r *bundleReport) write(w io.Writer, st style) error {
	p := page{w: w, st: st}
	p.printf("%s  %s\n\n", st.bold("Bundle"), r.Path)
	p.line("model", "%s, %s", r.Model, r.Layout)
	p.line("checkpoint", "%s", r.Checkpoint)
	p.line("target", "%s", r.Target)
	p.line("limits", "context %s, prompt chunk %s, %s at once, %s wanted", grouped(r.Context), grouped(r.Chunk), plural(r.Slots, "text"), plural(r.Wanted, "row"))
	p.line("caches", "attended rows %s, index keys %s", r.CacheRows, r.CacheKeys)
	p.line("kernels", "%s", grouped(r.Kernels))
	p.heading("Steps")
	t := table{columns: []column{{"kind", false}, {"rows", true}, {"dispatches", true}, {"barriers", true}, {"command buffers", true}, {"to score", true}, {"arena", true}}}
	for _, s := range r.Steps {
		t.add(s.Kind, "to "+grouped(s.MaxRows), grouped(s.Dispatches), grouped(s.Barriers), grouped(s.CommandBuffers), grouped(s.Scoring), bytesInWords(s.Arena))
	}
	p.table(&t)
	r.Memory.write(&p)
	return p.err
}

func (m memoryReport) write(p *page) {
	p.heading("Memory")
	t := table{columns: []column{{"", false}, {"", true}, {"", false}}}
	for _, row := range []struct {
		what  string
		bytes int64
		note  string
	}{
		{"weights", m.Weights, "mapped files"}, {"caches", m.Caches, "all slots at full context"},
		{"arena", m.Arena, "of the larger step"}, {"step blocks", m.Steps, ""}, {"peak", m.Peak, "all that running takes"},
	} {
		t.add(row.what, bytesInWords(row.bytes), row.note)
	}
	p.table(&t)
	p.printf("  %s %s\n", p.st.dim("peak ="), sizesInWords(m.Formula))
	p.printf("  a text of full context, kept beside its slot (serve --cache-ram): %s of newest rows and %s of entries\n", bytesInWords(m.KeptFrontier), bytesInWords(m.KeptEntries))
}

// formulaSize matches the sizes in a formula, and no divisor.
var formulaSize = regexp.MustCompile(`(^|[ (])([0-9]+)`)

// sizesInWords is a formula of sizes for people.
func sizesInWords(formula string) string {
	return formulaSize.ReplaceAllStringFunc(formula, func(found string) string {
		digits := strings.TrimLeft(found, " (")
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return found
		}
		return strings.TrimSuffix(found, digits) + bytesInWords(n)
	})
}

// table prints a table as part of a page.
func (p *page) table(t *table) {
	if p.err == nil {
		p.err = t.write(p.w, "  ", p.st)
	}
}

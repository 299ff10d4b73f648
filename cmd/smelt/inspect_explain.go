package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/runtime/metal"
)

// explainReport is the output of `smelt inspect BUNDLE --explain --json`, and the data of
// its page: what was chosen and why, by the passes, for this machine's GPU, for each
// region, in each kernel, and for how each parameter is read. Field names are stable;
// docs/json.md explains them. Lists are never null.
type explainReport struct {
	Path       string             `json:"path"`
	Model      string             `json:"model"`
	Passes     []string           `json:"passes"`
	GPU        gpuReport          `json:"gpu"`
	Regions    []explainRegion    `json:"regions"`
	Kernels    []explainKernel    `json:"kernels"`
	Parameters []explainParameter `json:"parameters"`
}

// explainRegion is a region with the kernels it got, by kind of step.
type explainRegion struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Decode  []string `json:"decode_kernels"`
	Prefill []string `json:"prefill_kernels"`
}

// explainKernel is what a kernel's schedule chose.
type explainKernel struct {
	Name     string           `json:"name"`
	Threads  int              `json:"threads"`
	Simd     int              `json:"simd_width"`
	Shared   int              `json:"threadgroup_memory"`
	Text     int              `json:"text"` // bytes, for the target
	Settings []explainSetting `json:"settings"`
}

type explainSetting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

// explainParameter says how kernels read a parameter's planes, each way once.
type explainParameter struct {
	Name     string   `json:"name"`
	Encoding string   `json:"encoding"`
	Pieces   int      `json:"pieces"`
	Skew     *int     `json:"skew"` // null if they differ
	Weight   []string `json:"weight_read_as"`
	Scales   []string `json:"scales_read_as"`
	Biases   []string `json:"biases_read_as"`
}

// explain gathers what was chosen; s and unseen are what examineGPU found.
func explain(b *bundle.Bundle, s *metal.Survey, unseen error) (*explainReport, error) {
	r := &explainReport{Path: b.Dir, Model: b.Name, Passes: joined(b.Notes), GPU: gpuOf(s, unseen), Regions: []explainRegion{}, Kernels: []explainKernel{}}
	kernels := map[program.Phase]map[string][]string{} // by region
	for _, s := range b.Plan.Steps {
		kernels[s.Phase] = map[string][]string{}
		for _, d := range s.Dispatches {
			kernels[s.Phase][d.Region] = append(kernels[s.Phase][d.Region], d.Kernel.Name)
		}
	}
	for _, of := range b.Module.Regions {
		r.Regions = append(r.Regions, explainRegion{of.Name, of.Kind, joined(kernels[program.Decode][of.Name]), joined(kernels[program.Prefill][of.Name])})
	}
	for _, k := range b.Plan.Kernels {
		text, err := b.Text(k.Name)
		if err != nil {
			return nil, err
		}
		of := explainKernel{k.Name, k.Schedule.Threads, k.Schedule.SimdWidth, k.SharedBytes(), len(text), []explainSetting{}}
		for _, x := range k.Schedule.Settings {
			of.Settings = append(of.Settings, explainSetting{x.Name, x.Value, x.Why})
		}
		r.Kernels = append(r.Kernels, of)
	}
	r.Parameters = parametersRead(b)
	return r, nil
}

// parametersRead lists the parameters with the ways kernels read their planes.
func parametersRead(b *bundle.Bundle) []explainParameter {
	ways, list := waysRead(b), []explainParameter{}
	for _, declared := range b.Module.Params {
		q := b.Params[declared.Name]
		if q == nil {
			continue // canonicalised away: no kernel reads it
		}
		r := explainParameter{Name: q.Name, Encoding: string(q.Integer), Pieces: len(q.Pieces), Skew: skewOf(q)}
		if q.Encoding != nil {
			r.Encoding = q.Encoding.Name()
		}
		for plane, list := range map[string]*[]string{"weight": &r.Weight, "scales": &r.Scales, "biases": &r.Biases} {
			*list = joined(ways[[2]string{q.Name, plane}])
		}
		list = append(list, r)
	}
	return list
}

// write prints the report as a page for people.
func (r *explainReport) write(w io.Writer, st style, wide bool) error {
	p := page{w: w, st: st}
	p.printf("%s  %s\n", st.bold("What was chosen"), r.Path)
	p.list("Passes", r.Passes)
	p.gpu(r.GPU)
	width := lineWidth
	if wide {
		width = 0
	}
	p.heading("Regions")
	t := table{columns: []column{{"region", false}, {"kind", false}, {"decode kernels", false}, {"prefill kernels", false}}, width: width, flow: []int{2, 3}}
	for _, x := range r.Regions {
		t.add(x.Name, x.Kind, strings.Join(x.Decode, ", "), strings.Join(x.Prefill, ", "))
	}
	p.table(&t)
	p.heading("Kernels")
	for _, k := range r.Kernels {
		p.printf("  %s  %d threads, SIMD groups of %d, %s of threadgroup memory, %s of text\n", st.bold(k.Name), k.Threads, k.Simd, bytesInWords(int64(k.Shared)), bytesInWords(int64(k.Text)))
		t := table{columns: make([]column, 3), width: width, flow: []int{2}}
		for _, s := range k.Settings {
			t.add(s.Name, s.Value, s.Why)
		}
		if p.err == nil {
			p.err = t.write(w, "    ", st)
		}
	}
	p.heading("Parameters")
	t = table{columns: []column{{"parameter", false}, {"encoding", false}, {"pieces", true}, {"skew", true}, {"weight read as", false}, {"scales", false}, {"biases", false}}, width: width, flow: []int{1, 4, 5, 6}}
	for _, q := range r.Parameters {
		skew := "mixed"
		if q.Skew != nil {
			skew = fmt.Sprint(*q.Skew)
		}
		t.add(q.Name, q.Encoding, grouped(q.Pieces), skew, strings.Join(q.Weight, "; "), strings.Join(q.Scales, "; "), strings.Join(q.Biases, "; "))
	}
	p.table(&t)
	return p.err
}

// skewOf is where the weights begin, modulo 16; nil if pieces differ in that.
func skewOf(q *storage.Parameter) *int {
	first := q.Pieces[0].Weight.Skew()
	for _, pc := range q.Pieces {
		if pc.Weight.Skew() != first {
			return nil
		}
	}
	return &first
}

// waysRead says for each parameter and plane how kernels read it, each way
// once.
func waysRead(b *bundle.Bundle) map[[2]string][]string {
	ways := map[[2]string][]string{}
	for _, s := range b.Plan.Steps {
		for _, d := range s.Dispatches {
			for i, a := range d.Args {
				if a.Weight == nil || a.Weight.Table {
					continue
				}
				at := [2]string{a.Weight.Param, a.Weight.Role.String()}
				if way := wayRead(b.Params[a.Weight.Param], d.Args, i); !slices.Contains(ways[at], way) {
					ways[at] = append(ways[at], way)
				}
			}
		}
	}
	return ways
}

// wayRead is how a dispatch reads the plane that its argument i is: in elements
// of its memory type, aligned, shifted into place by the scalar behind it or by
// a table of pieces, or put together of bytes.
func wayRead(q *storage.Parameter, args []plan.Arg, i int) string {
	a := args[i]
	elem, bytes := a.Param.Elem.String(), a.Param.Elem.Scalar == kernel.U8
	pieces := slices.ContainsFunc(args, func(o plan.Arg) bool {
		return o.Weight != nil && o.Weight.Table && o.Weight.Param == a.Weight.Param && o.Weight.Role == a.Weight.Role
	})
	switch {
	case pieces && bytes:
		return elem + " in pieces"
	case pieces:
		return elem + " in pieces, each shifted by its own"
	case i+1 < len(args) && args[i+1].Scalar != nil:
		return fmt.Sprintf("%s shifted by %d bits", elem, *args[i+1].Scalar)
	case bytes && elementBytes(q, a.Weight.Role) > 1:
		return elem + " put together"
	}
	return elem + " aligned"
}

// elementBytes is the size of a stored element of a plane, 0 if it has none.
func elementBytes(q *storage.Parameter, r encoding.Role) int {
	if q.Encoding == nil {
		n, _ := q.Integer.Size()
		return n
	}
	planes, err := q.Encoding.Planes(q.Rows, q.Cols)
	if err != nil {
		return 0 // Compile has refused it
	}
	for _, p := range planes {
		if p.Role == r {
			return p.ElementBytes()
		}
	}
	return 0
}

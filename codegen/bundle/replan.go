package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/passes"
)

// replan plans the module for the options and parameters of the document, and
// refuses a document that is another than that plan's. What a device is given is
// the plan made here. Where command buffers end is taken from the document, within
// the rules of plan.Check: it changes no result, and finding it takes longest.
func (d *document) replan(m *ir.Module, data []byte) (*Bundle, error) {
	if err := d.words(); err != nil {
		return nil, err
	}
	params, err := d.parameters(m)
	if err != nil {
		return nil, err
	}
	t, err := d.target()
	if err != nil {
		return nil, err
	}
	o := d.Options
	p, err := plan.Uncut(m, params, plan.Options{Context: o.Context, Chunk: o.Chunk, Slots: o.Slots, Wanted: o.Wanted, Target: t}, nil)
	if err != nil {
		return nil, err
	}
	if err := d.cut(p); err != nil {
		return nil, err
	}
	if err := p.Check(m); err != nil {
		return nil, err
	}
	b := &Bundle{Name: d.Model.Name, Checkpoint: d.Model.Checkpoint, Layout: d.Model.Layout, Config: d.Model.Config,
		CacheRows: o.Rows, CacheKeys: o.Keys, Notes: d.Notes, Module: m, Plan: p, Params: params, seal: d.Seal, folder: d.Folder}
	for _, f := range d.Model.Files {
		b.Files = append(b.Files, File(f))
	}
	again, err := b.document(d.expectedContents(t, p.Kernels))
	if err != nil {
		return nil, err
	}
	want, _, err := seal(again)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(data, want) {
		return nil, fmt.Errorf("it is not the plan that %s gives: %s", moduleName, difference(data, want))
	}
	return b, nil
}

// words checks the parts of the document that are only shown: cache formats must exist,
// and no text may hold control characters.
func (d *document) words() error {
	if err := (passes.Formats{Rows: d.Options.Rows, Keys: d.Options.Keys}).Check(); err != nil {
		return err
	}
	for _, s := range append([]string{d.Model.Name, d.Model.Layout}, d.Notes...) {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("found a control character in %q, expected plain text", message.Clip(s))
		}
	}
	return nil
}

// expectedContents are the digests that the bundle's files should have. The text of
// a target is not printed again, which takes long: devices print it from kernels,
// not from the file. smelt verify compares it.
func (d *document) expectedContents(t target.Target, kernels []*kernel.Kernel) map[string]string {
	out := map[string]string{moduleName: d.Contents[moduleName]}
	for _, k := range kernels {
		out[kernelFile(k)] = digest([]byte(kernel.Print(k)))
		out[textFile(t, k)] = d.Contents[textFile(t, k)]
	}
	return out
}

// cut numbers the command buffers of a plan as the document does.
func (d *document) cut(p *plan.Plan) error {
	if len(d.Steps) != len(p.Steps) {
		return fmt.Errorf("steps: found %d, expected decode and prefill", len(d.Steps))
	}
	for i, s := range p.Steps {
		if found := d.Steps[i].Dispatches; len(found) != len(s.Dispatches) {
			return fmt.Errorf("steps[%d]: %d dispatches, planning %s gives %d", i, len(found), moduleName, len(s.Dispatches))
		}
		for k, x := range s.Dispatches {
			x.CommandBuffer = d.Steps[i].Dispatches[k].CommandBuffer
		}
	}
	return nil
}

// target is the document's, with its limit of threads, with or without halves.
func (d *document) target() (target.Target, error) {
	t, err := target.Named(d.Target)
	if err != nil || d.Target != t.Name { // "cpu" is another target on another machine
		return t, fmt.Errorf("target: found %q, expected one of the targets of smelt compile", message.Clip(d.Target))
	}
	if d.Bitwise {
		t = t.WithoutHalves()
	}
	if d.Threads == 0 {
		return t, nil
	}
	less, err := t.WithThreads(d.Threads)
	if err == nil && less == t {
		err = fmt.Errorf("%d are the target's own; expected none to be given", t.MaxThreads)
	}
	if err != nil {
		return t, fmt.Errorf("threads: %w", err)
	}
	return less, nil
}

// parameters rebuilds where the module's parameters lie. Bind compares that with the open
// checkpoint.
func (d *document) parameters(m *ir.Module) (storage.Parameters, error) {
	if len(d.Parameters) != len(m.Params) {
		return nil, fmt.Errorf("%d parameters, %s has %d", len(d.Parameters), moduleName, len(m.Params))
	}
	var files []int64
	for _, f := range d.Model.Files {
		files = append(files, f.Bytes)
	}
	out := storage.Parameters{}
	for i, p := range d.Parameters {
		q, err := p.parameter(m.Params[i])
		if err == nil {
			err = q.Check(files)
		}
		if err != nil {
			return nil, fmt.Errorf("parameters[%d] (%s): %w", i, message.Clip(p.Name), err)
		}
		out[q.Name] = q
	}
	return out, nil
}

// parameter is the one that the module declares, as it is stored.
func (p *paramDoc) parameter(declared *ir.Param) (*storage.Parameter, error) {
	rows, cols, lead := storage.Shape(declared.Type)
	if p.Name != declared.Name || p.Rows != rows || p.Cols != cols || max(p.Lead, 1) != lead {
		return nil, fmt.Errorf("%d x %d values in %d parts; %s declares %s of %d x %d in %d there", p.Rows, p.Cols, max(p.Lead, 1), moduleName, declared.Name, rows, cols, lead)
	}
	q := &storage.Parameter{Name: p.Name, Rows: rows, Cols: cols, Lead: lead, Integer: encoding.DType(p.Integer), Columns: storage.Columns{First: p.Columns[0], Stored: p.Columns[1]}}
	if p.Encoding != "" {
		e, err := encoding.Parse(p.Encoding)
		if err != nil {
			return nil, err
		}
		q.Encoding = e
	}
	if (q.Encoding == nil) != (q.Integer != "") {
		return nil, errors.New("expected an encoding, or the type of integers")
	}
	for _, pc := range p.Pieces {
		q.Pieces = append(q.Pieces, storage.Piece{First: pc.First, Rows: pc.Rows, StoredFirst: pc.Stored,
			Weight: extent(&pc.Weight), Scales: extent(pc.Scales), Biases: extent(pc.Biases)})
	}
	return q, nil
}

func extent(t *[3]int64) storage.Extent {
	if t == nil {
		return storage.Extent{}
	}
	return storage.Extent{File: int(t[0]), Offset: t[1], Bytes: t[2]}
}

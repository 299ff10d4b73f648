package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/models/checkpoint"
)

// scanReport is the output of `smelt verify --scan --json`. Field names are
// stable; docs/json.md explains them. Lists are never null.
type scanReport struct {
	Path     string        `json:"path"`
	Tensors  int           `json:"tensors"`
	Bytes    int64         `json:"bytes"`
	Findings []scanFinding `json:"findings"`
	OK       bool          `json:"ok"`
}

// scanFinding is a tensor with codes that kernels do not handle.
type scanFinding struct {
	Tensor string `json:"tensor"`
	File   string `json:"file"`
	Code   string `json:"code"`
	Count  int64  `json:"count"`
}

// scanPlane is a stored tensor and what is looked for in it.
type scanPlane struct {
	tensor *checkpoint.Tensor
	bad    []encoding.Unhandled
}

// scanBundle reads every plane that can hold such codes once.
func scanBundle(ctx context.Context, io stdio, c *compiled, o verifyOptions) error {
	r := &scanReport{Path: c.Dir, Findings: []scanFinding{}}
	planes := planesToScan(c.model.Binding)
	r.Tensors = len(planes)
	for _, p := range planes {
		r.Bytes += p.tensor.Bytes
	}
	done, end := io.phases().Phase("reading weights", r.Bytes, progress.Bytes)
	defer end()
	for _, p := range planes {
		found, err := p.scan(ctx, done)
		if err != nil {
			return err
		}
		r.Findings = append(r.Findings, found...)
	}
	end()
	r.OK = len(r.Findings) == 0
	return r.end(io, o.json)
}

// planesToScan lists the planes that can hold codes which kernels do not handle
// (fp8 codes and E8M0 scales), each stored tensor once, in the order of the
// parameters.
func planesToScan(b *checkpoint.Binding) []scanPlane {
	var planes []scanPlane
	seen := map[string]bool{}
	add := func(t *checkpoint.Tensor, bad []encoding.Unhandled) {
		if t != nil && bad != nil && !seen[t.Name] {
			seen[t.Name] = true
			planes = append(planes, scanPlane{t, bad})
		}
	}
	for i := range b.Params {
		for _, v := range b.Params[i].Views {
			add(v.Weight, encoding.UnhandledIn(v.Encoding, encoding.Weight))
			add(v.Scales, encoding.UnhandledIn(v.Encoding, encoding.Scales))
		}
	}
	return planes
}

// scanBuffer is read at a time: weights are larger than memory.
const scanBuffer = 4 << 20

// scan reads the tensor from its file, not through the mapping, so that no more
// than a buffer of it stays in memory.
func (p scanPlane) scan(ctx context.Context, done func(n int64)) ([]scanFinding, error) {
	file := p.tensor.File
	section := io.NewSectionReader(file, p.tensor.Offset, p.tensor.Bytes)
	buffer, counts := make([]byte, min(scanBuffer, p.tensor.Bytes)), make([]int64, len(p.bad))
	for {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		n, err := section.Read(buffer)
		for i, bad := range p.bad {
			for _, value := range bad.Bytes {
				counts[i] += int64(bytes.Count(buffer[:n], []byte{value}))
			}
		}
		done(int64(n))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.tensor.Name, err)
		}
	}
	if err := file.Intact(); err != nil { // a section of a file that was cut short ends early
		return nil, err
	}
	var found []scanFinding
	for i, n := range counts {
		if n > 0 {
			found = append(found, scanFinding{p.tensor.Name, filepath.Base(file.Path()), p.bad[i].Name, n})
		}
	}
	return found, nil
}

// end prints the report and turns findings into an error.
func (r *scanReport) end(io stdio, asJSON bool) error {
	p := page{w: io.out, st: styleFor(io.out)}
	switch {
	case asJSON:
		p.err = writeIndented(io.out, r)
	default:
		p.printf("read %s of fp8 codes and E8M0 scales, %s\n", plural(r.Tensors, "tensor"), bytesInWords(r.Bytes))
		t := table{columns: []column{{"tensor", false}, {"file", false}, {"code", false}, {"count", true}}}
		for _, f := range r.Findings {
			t.add(f.Tensor, f.File, f.Code, grouped(f.Count))
		}
		if !r.OK {
			p.table(&t)
		}
	}
	if p.err != nil || r.OK {
		return p.err
	}
	return fmt.Errorf("%s with codes that kernels do not handle: logits that meet them are wrong on a device, the reference device computes them as stored", plural(len(r.Findings), "finding"))
}

package main

import (
	"encoding/binary"
	"io"
	"math"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/output"
)

// tracer collects named intermediates over the chunks of a text.
type tracer[F tensor.Float] struct {
	names []string
	parts map[string]*traced
}

// traced is one intermediate: its chunks one after the other.
type traced struct {
	rows  int
	shape []int // of one row
	ints  []int32
	bytes []byte // of float32 values
}

func newTracer[F tensor.Float](names []string) *tracer[F] {
	t := &tracer[F]{names: names, parts: map[string]*traced{}}
	for _, n := range names {
		t.parts[n] = &traced{}
	}
	return t
}

func (t *tracer[F]) observe(name string, v tensor.Value[F]) {
	p := t.parts[name]
	if p == nil {
		return
	}
	p.rows += v.Shape[0]
	p.shape = v.Shape[1:]
	p.ints = append(p.ints, v.I...)
	p.bytes = append(p.bytes, float32Bytes(v.F)...)
}

// encode writes the file; path stands for it in errors.
func (t *tracer[F]) encode(w io.Writer, path string, tokens []int32) error {
	outs := []safetensors.Out{{Name: "input_ids", DType: safetensors.I32, Shape: []int64{int64(len(tokens))}, Data: int32Bytes(tokens)}}
	for _, name := range t.names {
		p := t.parts[name]
		out := safetensors.Out{Name: name, DType: safetensors.F32, Data: p.bytes}
		if p.ints != nil {
			p.crop()
			out.DType, out.Data = safetensors.I32, int32Bytes(p.ints)
		}
		out.Shape = append(out.Shape, int64(p.rows))
		for _, d := range p.shape {
			out.Shape = append(out.Shape, int64(d))
		}
		outs = append(outs, out)
	}
	return safetensors.Encode(w, path, outs, map[string]string{output.MetadataKey: "trace"})
}

// crop drops the columns behind the longest row of an index list, which are
// all -1; at least one stays.
func (p *traced) crop() {
	width := p.shape[len(p.shape)-1]
	used := 1
	for i, x := range p.ints {
		if x >= 0 {
			used = max(used, i%width+1)
		}
	}
	kept := p.ints[:0]
	for i := 0; i < len(p.ints); i += width {
		kept = append(kept, p.ints[i:i+used]...)
	}
	p.ints, p.shape = kept, []int{used}
}

func float32Bytes[F tensor.Float](x []F) []byte {
	out := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(float32(v)))
	}
	return out
}

func int32Bytes(x []int32) []byte {
	out := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(out[4*i:], uint32(v))
	}
	return out
}

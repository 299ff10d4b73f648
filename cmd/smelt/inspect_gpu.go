package main

import (
	"errors"
	"fmt"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// examineGPU tries a bundle on this machine's GPU. Compiling its kernels takes seconds the
// first time.
func examineGPU(io stdio, b *bundle.Bundle) (*metal.Survey, error) {
	if _, err := metal.Native(); err != nil {
		return nil, err
	}
	return metal.Examine(b, metal.Options{Archives: metal.UserArchives(), Begin: io.phases()})
}

// gpuReport is what was found out of this machine's GPU, and what that decided.
type gpuReport struct {
	Machine  *metal.GPU    `json:"machine"` // null if there is none, or it cannot run the bundle
	Error    string        `json:"error"`   // why not, or ""
	Refused  string        `json:"refused"`
	Rescaled bool          `json:"planned_again"`
	Threads  int           `json:"threads"` // of a threadgroup at most, as planned in the end
	Kernels  []gpuPipeline `json:"pipelines"`

	absent bool // there is no GPU
}

// gpuPipeline is a kernel as the GPU compiled it.
type gpuPipeline struct {
	Kernel  string `json:"kernel"`
	Threads int    `json:"threads"`
	Allowed int    `json:"allowed"`
	Memory  int    `json:"threadgroup_memory"`
}

// gpuOf describes what examineGPU found.
func gpuOf(s *metal.Survey, err error) gpuReport {
	r := gpuReport{Kernels: []gpuPipeline{}}
	if err != nil {
		r.Error, r.absent = option.Text(err, flagOf), errors.Is(err, objc.ErrNotHere)
		return r
	}
	r.Machine, r.Rescaled, r.Threads = s.Machine, s.Rescaled, s.Planned
	if s.Refused != nil {
		r.Refused = option.Text(s.Refused, flagOf)
	}
	for _, k := range s.Pipelines {
		r.Kernels = append(r.Kernels, gpuPipeline(k))
	}
	return r
}

// gpu says what was found out of a GPU and what that decided.
func (p *page) gpu(r gpuReport) {
	p.heading("GPU")
	switch {
	case r.absent:
		p.printf("  none here that smelt can use: %s\n", r.Error)
		p.printf("  Kernels are for an M1 or later. Where they are opened, the GPU's family, memory and SIMD\n")
		p.printf("  width must do, and all is planned again if a pipeline allows fewer threads than planned.\n")
		return
	case r.Error != "":
		p.printf("  cannot run the bundle: %s\n", r.Error)
		return
	}
	m := r.Machine
	p.printf("  %s (%s), %s, families %s\n", m.Name, m.Architecture, m.System, strings.Join(m.Families, " "))
	p.printf("  bfloat %s (no kernel needs it: bf16 is read as 16-bit words), %s of threadgroup memory\n", yesOrNo(m.BFloat), bytesInWords(int64(m.ThreadgroupMemory)))
	p.printf("  buffers of at most %s, %s recommended in use, %s of memory\n", bytesInWords(m.MaxBuffer), bytesInWords(m.WorkingSet), bytesInWords(m.Memory))
	if r.Refused != "" {
		p.printf("  refused: %s\n", r.Refused)
	}
	if r.Rescaled {
		p.printf("  planned again with threadgroups of at most %d threads: a pipeline allows no more\n", r.Threads)
	} else {
		p.printf("  every pipeline allows the threads that were planned\n")
	}
	t := table{columns: []column{{"pipeline", false}, {"threads", true}, {"allowed", true}, {"threadgroup memory", true}}}
	for _, k := range r.Kernels {
		t.add(k.Kernel, fmt.Sprint(k.Threads), fmt.Sprint(k.Allowed), bytesInWords(int64(k.Memory)))
	}
	p.table(&t)
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

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
	wait := startWaiting(io.err, "compiling kernels")
	defer wait.done()
	return metal.Examine(b, metal.Options{Archives: metal.UserArchives()})
}

// gpu says what was found out of a GPU and what that decided.
func (p *page) gpu(s *metal.Survey, err error) {
	p.heading("GPU")
	switch {
	case errors.Is(err, objc.ErrNotHere):
		p.printf("  none here that smelt can use: %v\n", err)
		p.printf("  Kernels are for an M1 or later. Where they are opened, the GPU's family, memory and SIMD\n")
		p.printf("  width must do, and all is planned again if a pipeline allows fewer threads than planned.\n")
		return
	case err != nil:
		p.printf("  cannot run the bundle: %s\n", option.Text(err, flagOf))
		return
	}
	m := s.Machine
	p.printf("  %s (%s), %s, families %s\n", m.Name, m.Architecture, m.System, strings.Join(m.Families, " "))
	p.printf("  bfloat %s (no kernel needs it: bf16 is read as 16-bit words), %s bytes of threadgroup memory\n", yesOrNo(m.BFloat), grouped(m.ThreadgroupMemory))
	p.printf("  buffers of at most %s bytes, %s recommended in use, %s of memory\n", grouped(m.MaxBuffer), grouped(m.WorkingSet), grouped(m.Memory))
	if s.Refused != nil {
		p.printf("  refused: %v\n", s.Refused)
	}
	if s.Rescaled {
		p.printf("  planned again with threadgroups of at most %d threads: a pipeline allows no more\n", s.Planned)
	} else {
		p.printf("  every pipeline allows the threads that were planned\n")
	}
	t := table{columns: []column{{"pipeline", false}, {"threads", true}, {"allowed", true}, {"threadgroup memory", true}}}
	for _, k := range s.Pipelines {
		t.add(k.Kernel, fmt.Sprint(k.Threads), fmt.Sprint(k.Allowed), grouped(k.Memory))
	}
	p.table(&t)
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

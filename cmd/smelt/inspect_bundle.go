package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/codegen/kernel"
	"smelt.example/smelt/internal/codegen/report"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/passes"
)

// inspectBundle prints a bundle's summary or what the flags ask for.
func inspectBundle(ctx context.Context, io stdio, dir string, o inspectOptions) error {
	page, err := o.file("--html", o.html, output.HTML, modelInputs(dir)...)
	if err != nil {
		return err
	}
	b, err := readBundle(io, dir)
	if err != nil {
		return err
	}
	if o.weights {
		return fmt.Errorf("--weights is about a checkpoint, not the bundle %s; give %s", dir, b.Checkpoint)
	}
	if page != nil {
		return writePage(ctx, io, b, page)
	}
	w := bufio.NewWriterSize(io.out, 64<<10)
	if err := inspectBundleTo(io, w, b, o, styleFor(io.out)); err != nil {
		return err
	}
	return w.Flush()
}

func inspectBundleTo(io stdio, w io.Writer, b *bundle.Bundle, o inspectOptions, st style) error {
	switch {
	case o.kernel != "":
		return writeKernel(w, b, o.kernel, o.stage == "kernel")
	case o.stage != "":
		return writeStage(io, w, b, o.stage, o.json)
	case o.plan:
		r := planOf(b, o.step)
		if o.json {
			return writeIndented(w, r)
		}
		return r.write(w, st, o.wide)
	case o.explain:
		survey, unseen := examineGPU(io, b)
		r, err := explain(b, survey, unseen)
		if err != nil {
			return err
		}
		if o.json {
			return writeIndented(w, r)
		}
		return r.write(w, st, o.wide)
	case o.cost:
		r, err := costOf(b, o)
		if err != nil {
			return err
		}
		if o.json {
			return writeIndented(w, r)
		}
		return r.write(w, st, o.wide)
	}
	r, err := summariseBundle(b)
	if err != nil {
		return err
	}
	if o.json {
		return writeIndented(w, r)
	}
	return r.write(w, st)
}

// stagePlan names the module that was lowered, as the bundle holds it.
const stagePlan = "plan"

// writeStage prints the module after a pass. The passes run again over the
// checkpoint's graph; for the module of the plan nothing needs to.
func writeStage(std stdio, w io.Writer, b *bundle.Bundle, name string, asJSON bool) error {
	if name == stagePlan || name == stageGraph {
		return writeModule(w, b.Module, b.Dir, stagePlan, asJSON)
	}
	stages, err := stagesOf(std, b)
	if err != nil {
		return err
	}
	if name == "list" {
		r := listStages(b.Dir, b.Name, stages)
		if asJSON {
			return writeIndented(w, r)
		}
		return r.write(w)
	}
	names := make([]string, 0, len(stages.Stages)+1)
	for _, s := range stages.Stages {
		if s.Name == name {
			return writeModule(w, s.Module, b.Dir, name, asJSON)
		}
		names = append(names, s.Name)
	}
	return fmt.Errorf("--ir %s: there is no such stage; expected %s or %s", name, strings.Join(names, ", "), stagePlan)
}

// stagesOf opens the bundle's checkpoint and runs the passes. The modules hold
// no weights, so the checkpoint is closed again.
func stagesOf(std stdio, b *bundle.Bundle) (*passes.Result, error) {
	c, err := withCheckpoint(std, b)
	if err != nil {
		return nil, err
	}
	stages, err := c.stages()
	return stages, errors.Join(err, c.model.Close())
}

// writeKernel prints one kernel: its facts as comments and its text for the
// target, or its kernel IR alone.
func writeKernel(w io.Writer, b *bundle.Bundle, name string, asIR bool) error {
	k, err := kernelNamed(b, name)
	if err != nil {
		return err
	}
	if asIR {
		_, err := io.WriteString(w, kernel.Print(k))
		return err
	}
	metal, err := b.Text(name)
	if err != nil {
		return err
	}
	var facts strings.Builder
	for _, line := range kernelFacts(b, k) {
		facts.WriteString("// " + line + "\n")
	}
	_, err = io.WriteString(w, facts.String()+"\n"+metal)
	return err
}

func kernelNamed(b *bundle.Bundle, name string) (*kernel.Kernel, error) {
	var near []string
	for _, k := range b.Plan.Kernels {
		if k.Name == name {
			return k, nil
		}
		if strings.Contains(k.Name, name) {
			near = append(near, k.Name)
		}
	}
	if len(near) > 0 {
		return nil, fmt.Errorf("--kernel %s: the bundle has no kernel of that name; near it are %s", name, strings.Join(near, ", "))
	}
	return nil, fmt.Errorf("--kernel %s: the bundle has no kernel of that name; --explain lists them", name)
}

// kernelFacts lists what a plan says about a kernel, a line each.
func kernelFacts(b *bundle.Bundle, k *kernel.Kernel) []string {
	lines := []string{fmt.Sprintf("%s: %d threads a threadgroup in SIMD groups of %d, %s of threadgroup memory",
		k.Name, k.Schedule.Threads, k.Schedule.SimdWidth, bytesInWords(int64(k.SharedBytes())))}
	for _, s := range k.Schedule.Settings {
		lines = append(lines, fmt.Sprintf("%s %s: %s", s.Name, s.Value, s.Why))
	}
	for _, s := range b.Plan.Steps {
		var regions []string
		for _, d := range s.Dispatches {
			if d.Kernel == k {
				regions = append(regions, d.Region)
			}
		}
		if len(regions) > 0 {
			lines = append(lines, fmt.Sprintf("%s of a %s step: %s", dispatches(len(regions)), s.Phase, strings.Join(regions, ", ")))
		}
	}
	return lines
}

// writePage writes the page of --html. Without its checkpoint a bundle has only
// its last stage to show; the page then does without the others.
func writePage(ctx context.Context, std stdio, b *bundle.Bundle, page *output.File) error {
	defer std.wait("making the page")()
	stages, err := stagesOf(std, b)
	if err != nil {
		fmt.Fprintf(std.err, "the page has no stages but the last: %v\n", err)
		stages = nil
	}
	return write(ctx, page, func(w io.Writer) error { return report.Write(w, b, stages) })
}

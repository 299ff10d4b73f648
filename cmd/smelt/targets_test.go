package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
)

// proving is set by scripts/proof: all is tried, and the table printed.
func proving() bool { return os.Getenv("SMELT_PROOF") != "" }

// bundled is a checkpoint compiled for a target, on its way through the stages.
type bundled struct {
	name, checkpoint string
	target           target.Target
	dir              string // of the bundle
}

// stages are what every bundle goes through. Each goes on where the one before ended.
var stages = []struct {
	name string
	run  func(b *bundled, t *testing.T) error
}{
	{"compile", (*bundled).compile}, {"open", (*bundled).open}, {"inspect", (*bundled).inspect}, {"run", (*bundled).run}, {"verify", (*bundled).verify},
}

// TestTargets: every checkpoint compiled for every target opens, can be inspected and
// runs on this processor with the evaluator's logits; two bundles are verified through
// the stand-in for Metal, one of them by TestVerify. Without SMELT_FULL each checkpoint
// is compiled for one target, by turns from a drawn one on, so that none is left out.
func TestTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles, runs and verifies bundles")
	}
	dirs := everyCheckpoint(t)
	names := slices.Sorted(maps.Keys(dirs))
	first := slices.Index(target.All, sample.Of(t, target.All, 1)[0])
	verified := sample.Of(t, names, 1)[0]
	for i, name := range names {
		for k, to := range target.All {
			drawn := k == (first+i)%len(target.All)
			if !drawn && !sample.Full() {
				continue
			}
			b := &bundled{name: name, checkpoint: dirs[name], target: to, dir: filepath.Join(t.TempDir(), "bundle")}
			b.prove(t, proving() || drawn && name == verified)
		}
	}
}

// prove takes the bundle through the stages until one fails.
func (b *bundled) prove(t *testing.T, verify bool) {
	t.Helper()
	row := fmt.Sprintf("%-28s %-6s", b.name, b.target.Name)
	for _, s := range stages {
		if s.name == "verify" && !verify {
			continue
		}
		start := time.Now()
		err := s.run(b, t)
		cell := "ok"
		switch {
		case errors.Is(err, devices.ErrNotHere):
			cell = "not here"
		case err != nil:
			cell = "FAILED"
			t.Errorf("%s for %s: %s: %v", b.name, b.target.Name, s.name, err)
		}
		row += fmt.Sprintf("  %s %8s %5.1f s", s.name, cell, time.Since(start).Seconds())
		if cell == "FAILED" {
			break
		}
	}
	if proving() {
		fmt.Println("proof:", row)
	}
}

// everyCheckpoint has the repository's, and the fixtures of SMELT_SHARED where it is set.
func everyCheckpoint(t *testing.T) map[string]string {
	all := checkpoints(t)
	more, _ := filepath.Glob(filepath.Join(os.Getenv("SMELT_SHARED"), "fixtures/*/config.json")) // the pattern is valid
	for _, path := range more {
		if name := filepath.Base(filepath.Dir(path)); os.Getenv("SMELT_SHARED") != "" && all[name] == "" {
			all[name] = filepath.Dir(path)
		}
	}
	return all
}

// smelts runs a command and returns what it prints.
func (b *bundled) smelts(t *testing.T, args ...string) (string, error) {
	r := smelt(t, "", args...)
	if r.status != 0 {
		return "", fmt.Errorf("smelt %q: status %d: %s", args, r.status, r.errors)
	}
	return r.out, nil
}

// compile: with caches as exact as the graph, so that logits can be compared closely.
func (b *bundled) compile(t *testing.T) error {
	_, err := b.smelts(t, "compile", b.checkpoint, "-o", b.dir, "--target", b.target.Name, "--context", "16", "--chunk", "16", "--wanted", "16", "--cache", "f32")
	return err
}

func (b *bundled) open(t *testing.T) error {
	c, err := openBundle(stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)}, b.dir)
	if err != nil {
		return err
	}
	if c.Plan.Target != b.target {
		err = fmt.Errorf("it is for the target %s", c.Plan.Target)
	}
	return errors.Join(err, c.model.Close())
}

// inspect looks at the bundle as smelt inspect does with each of its flags, and at
// kernels in both texts.
func (b *bundled) inspect(t *testing.T) error {
	out, err := b.smelts(t, "inspect", b.dir)
	if err != nil {
		return err
	}
	if !strings.Contains(out, b.target.Name) {
		return fmt.Errorf("the summary does not name the target:\n%s", out)
	}
	c, err := openBundle(stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)}, b.dir)
	if err != nil {
		return err
	}
	defer c.model.Close()
	asked := []inspectOptions{{plan: true}, {explain: true}, {json: true}, {stage: stagePlan}}
	for i, k := range c.Plan.Kernels {
		if i%16 != 0 && !proving() && !sample.Full() {
			continue
		}
		asked = append(asked, inspectOptions{kernel: k.Name}, inspectOptions{kernel: k.Name, stage: "kernel"})
	}
	for _, o := range asked {
		var w bytes.Buffer
		if err := inspectBundleTo(stdio{out: &w, err: new(bytes.Buffer)}, &w, c.Bundle, o, style{}); err != nil || w.Len() == 0 {
			return fmt.Errorf("inspect %+v: %d bytes, %w", o, w.Len(), err)
		}
	}
	return nil
}

// run compares all logits of a prefill and some decode steps with the evaluator's.
func (b *bundled) run(t *testing.T) (err error) {
	l, err := jit.Open("")
	if err != nil {
		return fmt.Errorf("%w: %w", devices.ErrNotHere, err)
	}
	c, err := openBundle(stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)}, b.dir)
	if err != nil {
		return err
	}
	defer c.model.Close()
	both := lockstep.New(lockstep.Choices)
	d, err := cpu.Open(c.Bundle, c.model.Checkpoint, cpu.Options{LLVM: l, Cache: jit.UserCache(), Observe: both.See})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := both.Attach(d, c.model.Weights); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(3, 4))
	for at := 0; at < 14; {
		phase, n := program.Prefill, 11
		if at > 0 {
			phase, n = program.Decode, 1
		}
		var rows []ir.Row
		var wanted []int
		for i := range n {
			rows, wanted = append(rows, ir.Row{Token: r.Int32N(int32(d.Vocab())), Position: int32(at + i)}), append(wanted, i)
		}
		step, err := both.Step(phase, rows, wanted, nil)
		if err != nil {
			return err
		}
		if off := step.Difference(); !(off >= 0 && off <= lockstep.Logits) {
			return fmt.Errorf("logits of the %s at %d differ by %g from the evaluator's", phase, at, off)
		}
		at += n
	}
	for _, k := range both.Kernels() {
		if why := k.Trouble(); why != "" {
			return fmt.Errorf("kernel %s: %s", k.Name, why)
		}
	}
	return nil
}

func (b *bundled) verify(t *testing.T) error {
	if _, err := msl.Find(); err != nil {
		return fmt.Errorf("%w: %w", devices.ErrNotHere, err)
	}
	_, err := b.smelts(t, "verify", b.dir, "--tokens", "1")
	return err
}

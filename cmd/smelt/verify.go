package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/codegen/kernel"
	msl "smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/lockstep"
)

// verifyOptions are the flags of `smelt verify`.
type verifyOptions struct {
	tokens                     int
	seed                       uint64
	sanitize, scan, hash, json bool
	paging                     bool
	device                     string
	gpu                        int
	target                     string
}

// verifyHelp is the long help.
const verifyHelp = `Verify first compiles the bundle's checkpoint again and compares the result with
the bundle's files, byte for byte: a bundle that was edited, or that another
version of smelt made differently, is an error.

Then it compiles every kernel's Metal text with clang, address spaces checked,
executes prompts of random tokens with it on the CPU, and compares all logits
that the bundle can give, and what kernels choose and round, with the evaluator's.
Prompts are of 1 to 5 tokens, of a token less and more than each window, and of 127
to 129, as far as the bundle's context allows; each is then decoded for some tokens.
A bundle with several slots also decodes texts together.

Another order of additions flips some choices: an expert or an entry whose score
nearly equals another's, a cached number that lies between two codes. The evaluator
counts these and follows the kernels; a choice that rounding does not explain is an
error, and so is a logit beyond the bound that is printed. The exit status is then 1. clang 19 or newer must be installed. Large models take very long.
--target proves the text of the bundle's module for another machine, planned anew.
--device cuda executes the same text on an NVIDIA card, where NVRTC compiles it: there
large models take minutes, and no clang is needed.
smelt doctor looks at single kernels, and at this machine's other devices.

--scan reads all weights once instead, and reports codes that the evaluator
knows and kernels do not handle: NaN codes of fp8, and scales of 0 and 255 in
E8M0, with the tensors they are in. It needs no clang. With or without it, a table
that gives a token an expert which its layer lacks is an error.

--hash reads all weights once instead, and compares the SHA-256 of their files with
those that smelt compile --hash recorded. It names each file that differs.`

func newVerify(io stdio) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Prove a bundle's kernels against the reference, or look at its weights",
		Long:  verifyHelp,
		Example: `  smelt verify BUNDLE
  smelt verify BUNDLE --hash
  smelt verify BUNDLE --tokens 32 --sanitize
  smelt verify BUNDLE --device cuda
  smelt verify BUNDLE --scan`,
		Args:              oneBundle,
		ValidArgsFunction: completeFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			c, err := openBundle(io, args[0])
			if err != nil {
				return err
			}
			defer c.model.Close()
			if err := c.recompile(io); err != nil {
				return err
			}
			if o.hash {
				return hashBundle(cmd.Context(), io, c, o)
			}
			if err := c.model.Checkpoint.Ready(); err != nil {
				return err // before kernels are compiled, or weights read
			}
			if o.scan {
				return scanBundle(cmd.Context(), io, c, o)
			}
			return verifyBundle(cmd.Context(), io, c, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	intFlag(f, &o.tokens, "tokens", "", 4, tokenCounts, "tokens to decode after each prompt")
	uint64Flag(f, &o.seed, "seed", 1, "seed of the random tokens")
	f.BoolVar(&o.sanitize, "sanitize", false, "build kernels with clang's address and undefined-behaviour sanitizers")
	f.StringVar(&o.device, "device", standinDevice, "what executes the text: "+verifying().String())
	gpuFlag(f, &o.gpu)
	targetFlag(cmd, &o.target)
	completeDevice(cmd, verifying())
	pagingFlag(f, &o.paging)
	f.BoolVar(&o.scan, "scan", false, "read all weights and report codes that kernels do not handle")
	f.BoolVar(&o.hash, "hash", false, "read all weights and compare their SHA-256 with those recorded by compile --hash")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return cmd
}

func (o verifyOptions) check(given func(flag string) bool) error {
	if o.scan && o.hash {
		return fmt.Errorf("--scan and --hash are two readings of the weights; give one of them")
	}
	for _, flag := range []string{"tokens", "seed", "sanitize", "allow-paging", "device", "gpu", "target"} {
		if (o.scan || o.hash) && given(flag) {
			return fmt.Errorf("--%s contradicts --scan and --hash, which execute nothing", flag)
		}
	}
	if o.sanitize && o.device != standinDevice {
		return fmt.Errorf("--sanitize is for --device %s; compute-sanitizer watches a card from outside", standinDevice)
	}
	k, ok := verifying().Named(o.device)
	if !ok {
		return fmt.Errorf("--device: found %q, expected one of %s", o.device, verifying())
	}
	return checkTarget(k, o.target)
}

// recompile compares the bundle with what compiling its checkpoint again gives.
func (c *compiled) recompile(io stdio) error {
	defer io.wait("compiling again")()
	return c.Recompile(bundle.SourceOf(c.model))
}

// verifyReport is the output of `smelt verify --json`. Field names are stable;
// docs/json.md explains them.
type verifyReport struct {
	Path      string        `json:"path"`
	Model     string        `json:"model"`
	CacheRows string        `json:"cache_rows"`
	CacheKeys string        `json:"cache_keys"`
	Compiler  string        `json:"compiler"`
	Kernels   int           `json:"kernels"`
	Bound     float64       `json:"bound"`
	Why       string        `json:"why"`
	Checks    []verifyCheck `json:"checks"`
	OK        bool          `json:"ok"`
	Seconds   float64       `json:"seconds"`
	Error     *string       `json:"error"` // what ended the checks
}

// verifyBundle compiles the kernels and runs the checks, printing each as it
// ends.
func verifyBundle(ctx context.Context, io stdio, c *compiled, o verifyOptions) (err error) {
	start := time.Now()
	to, err := o.machine(c.Bundle)
	if err != nil {
		return err
	}
	if c.Bundle, err = c.Bundle.For(to); err != nil {
		return err
	}
	r := &verifyReport{Path: c.Dir, Model: c.Name, CacheRows: c.CacheRows, CacheKeys: c.CacheKeys, Kernels: len(c.Plan.Kernels), Checks: []verifyCheck{}}
	r.Bound, r.Why = lockstep.Logits, "with the same choices only the order of sums differs"
	if err := o.admit(c); err != nil {
		return err
	}
	p := newVerifyPage(io, o.json)
	if o.device == standinDevice {
		if r.Compiler, err = checkKernels(ctx, io, c.Bundle); err != nil {
			return err
		}
		p.begin(r, true)
	}
	both := lockstep.New(lockstep.Choices)
	dev, err := openVerifying(c, o.device, devices.Options{Target: to.Name, GPU: o.gpu, Sanitize: o.sanitize, Poison: true, AllowPaging: o.paging, Observe: both.See, Watch: io.watch()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if d, ok := dev.(device.Described); ok && o.device != standinDevice {
		r.Compiler = d.Text()
		p.begin(r, false)
	}
	if err := both.Attach(dev, c.model.Weights); err != nil {
		return err
	}
	v := newVerifier(both, o)
	prompts := v.prompts()
	for i, prompt := range prompts {
		done, end := io.phases().Phase(fmt.Sprintf("check %d of %d, %s", i+1, len(prompts), prompt.name), v.tokens(prompt), progress.Tokens)
		v.done = done
		check, err := v.run(ctx, prompt)
		end()
		if ctx.Err() != nil { // it may have ended the process that runs kernels, too
			return errInterrupted
		}
		if err != nil {
			return p.broken(r, err)
		}
		r.Checks = append(r.Checks, check)
		p.check(check)
	}
	r.Seconds = time.Since(start).Seconds()
	return p.end(r)
}

// admit refuses what has no room before kernels are compiled, which takes long: the
// evaluator, whose logits are those to compare with, and a device of the processor.
func (o verifyOptions) admit(c *compiled) error {
	m, with := modelFor(c.model, c.Bundle), devices.Options{AllowPaging: o.paging, Chunk: c.Plan.Chunk}
	if o.device == standinDevice {
		if err := devices.Admits(standinDevice, m, with); err != nil {
			return err
		}
	}
	if err := devices.Evaluates[float32](c.Module, m, with); err != nil {
		return fmt.Errorf("%w (for smelt verify, sizes are the bundle's: compile it with others)", err)
	}
	return nil
}

// machine is the target whose text is proved: the one asked for, or the bundle's own
// where the device runs it, or what the device takes.
func (o verifyOptions) machine(b *bundle.Bundle) (target.Target, error) {
	k, _ := verifying().Named(o.device)
	if o.target == "" {
		if own, err := k.Runs(b.Plan.Target.Name); err == nil {
			return own, nil
		}
	}
	return k.Runs(o.target)
}

// standinDevice is what proves text if nobody says: the one that needs no hardware.
const standinDevice = "standin"

// verifying are the devices that can.
func verifying() devices.Table {
	return devices.All().Where(func(k devices.Kind) bool { return k.Verifies })
}

// openVerifying opens the device whose steps prove the text of a bundle's kernels.
func openVerifying(c *compiled, name string, o devices.Options) (device.Planned, error) {
	d, _, err := verifying().Open(name, modelFor(c.model, c.Bundle), o)
	if err != nil {
		return nil, err
	}
	return d.(device.Planned), nil // what runs kernels is one
}

// checkKernels compiles each kernel's text by itself, and names the compiler.
func checkKernels(ctx context.Context, io stdio, b *bundle.Bundle) (string, error) {
	compiler, err := msl.Find()
	if err != nil {
		return "", err
	}
	kernels := b.Plan.Kernels
	told, end := io.phases().Phase("checking kernels", int64(len(kernels)), "kernels")
	defer end()
	todo, errs := make(chan *kernel.Kernel), make([]error, len(kernels))
	var workers sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := range todo {
				err := checkKernel(b, k.Name, compiler)
				mu.Lock()
				errs[done] = err
				done++
				told(1)
				mu.Unlock()
			}
		})
	}
	for _, k := range kernels {
		if ctx.Err() != nil {
			break
		}
		todo <- k
	}
	close(todo)
	workers.Wait()
	if ctx.Err() != nil {
		return "", errInterrupted
	}
	return compiler.String(), errors.Join(errs...)
}

func checkKernel(b *bundle.Bundle, name string, compiler *msl.Compiler) error {
	metal, err := b.Text(name)
	if err != nil {
		return err
	}
	return compiler.Check(name+".metal", metal)
}

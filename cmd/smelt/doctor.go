package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/models/synthetic"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/models"
)

// doctorFile is where the report goes if nobody says where.
const doctorFile = "smelt-doctor.txt"

// doctorOptions are the flags of `smelt doctor`.
type doctorOptions struct {
	devices []string
	threads int
	gpu     int
	target  string
	report  string
	paging  bool
	json    bool
	outputOptions
}

func newDoctor(io stdio) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [CHECKPOINT or BUNDLE]",
		Short: "Say what this machine is, and prove its devices kernel by kernel",
		Long: `Doctor says what this machine is, and which devices it has. Each device that is
there runs a few texts of random tokens, in whole steps as in use and then kernel
by kernel. Every value that a kernel writes is compared with what the evaluator
computes from the same inputs, and every kernel is timed.

The model is made in memory, with random weights and the storyteller's shapes and
formats, whose bundle's kernels it has: nothing but this program is needed. Name a
checkpoint or a bundle to take that instead; large ones take very long, for the
evaluator runs them too.

Everything found goes into one file, ` + doctorFile + ` in the current folder
unless --report names another: attach it to a bug. It holds no names of people
or computers; the home folder is written ~.

A device that is not there is no failure. The exit status is 1 if one that is
there fails or computes something else than the evaluator.`,
		Example: `  smelt doctor
  smelt doctor --device metal --report metal.txt
  smelt doctor examples/storyteller/checkpoint
  smelt doctor --json | jq '.devices[] | {device, here, ok, errors}'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("expected at most one CHECKPOINT or BUNDLE, got %d arguments (see %s --help)", len(args), cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.json && !cmd.Flags().Changed("report") {
				o.report = ""
			}
			if err := o.check(len(args) == 0); err != nil {
				return err
			}
			return runDoctor(cmd.Context(), io, o, args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.devices, "device", examinedByDefault().Names(), "devices to check: "+examinable())
	intFlag(f, &o.threads, "threads", "", 0, threadCounts(), "threads of the cpu, 0 for all processors")
	gpuFlag(f, &o.gpu)
	targetFlag(cmd, &o.target)
	pagingFlag(f, &o.paging)
	f.StringVarP(&o.report, "report", "o", doctorFile, "the file that everything is written to; with --json none unless named")
	o.flag(f)
	f.BoolVar(&o.json, "json", false, "print everything as one JSON object")
	completeList(cmd, "device", devices.All().WithKernels().Names()...)
	return cmd
}

// examinedByDefault are the devices that doctor looks for if none are named.
func examinedByDefault() devices.Table {
	return devices.All().WithKernels().Where(func(k devices.Kind) bool { return k.Auto })
}

// examinable names the devices that doctor can check, for its help.
func examinable() string {
	var names []string
	for _, k := range devices.All().WithKernels() {
		name := k.Name
		if k.Slow {
			name += " (slow; needs " + k.Needs
			if k.Files {
				name += " and a CHECKPOINT"
			}
			name += ")"
		}
		names = append(names, name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + ", or " + names[last]
}

// check refuses what makes no sense; own says that doctor makes the model.
func (o doctorOptions) check(own bool) error {
	known := devices.All().WithKernels()
	for _, name := range o.devices {
		k, ok := known.Named(name)
		if !ok {
			return fmt.Errorf("--device %s: expected some of %s; the others run no kernels", name, known)
		}
		if err := checkTarget(k, o.target); err != nil {
			return err
		}
		if own && k.Files {
			return fmt.Errorf("--device %s maps files, and doctor's own model is in memory: name a CHECKPOINT or BUNDLE too", name)
		}
	}
	return o.outputOptions.check("--report", o.report)
}

// examined is a report in the making.
type examined struct {
	io     stdio
	o      doctorOptions
	report doctorReport
	model  *models.Model
	bundle *bundle.Bundle
	file   *output.File // the report's; nil without one
}

func runDoctor(ctx context.Context, io stdio, o doctorOptions, args []string) (err error) {
	e := &examined{io: io, o: o, report: newDoctorReport()}
	var inputs []output.Input
	if len(args) > 0 {
		inputs = modelInputs(args[0])
	}
	if e.file, err = o.file("--report", o.report, output.Report, inputs...); err != nil {
		return err
	}
	if err := e.keep(ctx, "the model is being made"); err != nil {
		return err
	}
	if err := e.open(ctx, args); err != nil {
		if ctx.Err() != nil {
			return e.interrupted(ctx)
		}
		return err
	}
	defer func() { err = errors.Join(err, e.model.Close()) }()
	e.report.Model.describe(e.bundle)
	for _, k := range devices.All().WithKernels() {
		if !slices.Contains(o.devices, k.Name) {
			continue
		}
		if err := e.keep(ctx, "device "+k.Name+" is being checked: if nothing follows, the program ended there"); err != nil {
			return err
		}
		result, err := e.check(ctx, k)
		if err != nil {
			return e.interrupted(ctx)
		}
		e.report.Devices = append(e.report.Devices, result)
	}
	e.report.judge()
	if err := e.keep(ctx, ""); err != nil {
		return err
	}
	return e.print()
}

// Doctor's own model has these random weights.
const doctorSeed = 1

// open makes doctor's own model, or opens the one that is named.
func (e *examined) open(ctx context.Context, args []string) (err error) {
	if len(args) == 0 {
		if e.model, err = ownModel(ctx, e.io); err != nil {
			return err
		}
		e.report.Model.Path, e.report.Model.Note = "", "made in memory: the storyteller's shapes and formats, random weights"
	} else {
		if e.model, e.bundle, err = openModel(e.io, args[0]); err != nil {
			return err
		}
		e.report.Model.Path = args[0]
	}
	if e.bundle == nil {
		m := e.model
		e.bundle, err = doctor.Compile(bundle.SourceOf(m), e.io.phases())
	}
	if err != nil {
		return errors.Join(err, e.model.Close())
	}
	return nil
}

func ownModel(ctx context.Context, io stdio) (*models.Model, error) {
	defer io.wait("making a model")()
	config, err := synthetic.Storyteller()
	if err != nil {
		return nil, err
	}
	s, err := synthetic.New("doctor's model", config, synthetic.Options{Format: synthetic.MLX4All})
	if err != nil {
		return nil, err
	}
	if err := s.Fill(ctx, synthetic.FillOptions{Seed: doctorSeed}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s.Model, nil
}

// check checks a device.
func (e *examined) check(ctx context.Context, k devices.Kind) (doctor.Result, error) {
	var end func()
	defer func() {
		if end != nil {
			end()
		}
	}()
	var reached func(all int64)
	return doctor.Check(ctx, e.subject(k, func(all, total int) {
		if all == 0 {
			var done func(n int64)
			done, end = e.io.phases().Phase("checking "+k.Name, int64(total), "steps")
			reached = progress.Reached(done)
		}
		reached(int64(all))
	}), e.model.Weights)
}

// subject is a device as package doctor sees it; reached is told of its steps.
func (e *examined) subject(k devices.Kind, reached func(all, total int)) doctor.Subject {
	return doctor.Subject{
		Name:   k.Name,
		Absent: devices.ErrNotHere,
		Open: func(observe func(name string, data []byte)) (device.Planned, error) {
			o := deviceOptions{k.Name, devices.Options{Target: e.o.target, Threads: e.o.threads, GPU: e.o.gpu, AllowPaging: e.o.paging, Steady: true, Observe: observe}}
			d, err := openDevice(e.io, o, e.model, e.bundle)
			if err != nil {
				return nil, err
			}
			return d.(device.Planned), nil // what runs kernels is one
		},
		Notes:    deviceNotes,
		Progress: reached,
		Text:     func(err error) string { return option.Text(err, flagOf) },
	}
}

// deviceNotes says what there is to say of an open device.
func deviceNotes(d device.Planned) []string {
	x, ok := d.(device.Described)
	if !ok {
		return nil
	}
	return append([]string{"runs on " + x.Text()}, x.Notes()...)
}

// keep writes the report's file as far as the report is; doing says what comes next.
func (e *examined) keep(ctx context.Context, doing string) error {
	e.report.Unfinished = doing
	if e.file == nil {
		return nil
	}
	return write(ctx, e.file, func(w io.Writer) error {
		var text bytes.Buffer
		text.WriteString(output.Report.Mark() + "\n")
		if err := e.report.write(&text, style{}, true); err != nil {
			return err
		}
		_, err := io.WriteString(w, withoutHome(text.String()))
		return err
	})
}

// interrupted says in the file that the report ends there.
func (e *examined) interrupted(ctx context.Context) error {
	if err := e.keep(ctx, "interrupted"); err != nil && !errors.Is(err, errInterrupted) {
		return errors.Join(errInterrupted, err)
	}
	return errInterrupted
}

// print prints the report, and turns a bad one into an error.
func (e *examined) print() (err error) {
	var text bytes.Buffer
	if e.o.json {
		err = writeIndented(&text, e.report)
	} else {
		err = e.report.write(&text, styleFor(e.io.out), false)
		if e.o.report != "" {
			fmt.Fprintf(&text, "\neverything is in %s: attach it to a bug\n", e.o.report)
		}
	}
	if err != nil {
		return err
	}
	if _, err := e.io.out.Write([]byte(withoutHome(text.String()))); err != nil {
		return err
	}
	if bad := e.report.bad(); len(bad) > 0 {
		return fmt.Errorf("not in order: %s", strings.Join(bad, ", "))
	}
	return nil
}

// withoutHome writes the home folder as ~, since its name is often a person's.
func withoutHome(text string) string {
	home, err := os.UserHomeDir()
	if err != nil || len(home) < 2 {
		return text
	}
	return strings.ReplaceAll(text, home, "~")
}

// newDoctorReport says what there is to say before a device is opened.
func newDoctorReport() doctorReport {
	r := doctorReport{Time: time.Now().UTC().Format(time.RFC3339), Version: thisVersion(), Machine: thisMachine(), Devices: []doctor.Result{}}
	if l, err := jit.Open(""); err != nil {
		r.LLVM.Error = err.Error()
	} else {
		r.LLVM = doctorLLVM{Path: l.Path(), Version: l.Version(), CPU: l.Host().CPU, Lanes: l.Host().Lanes()}
	}
	api, err := metal.Native()
	if err == nil {
		r.Metal.Machine, err = metal.Probe(api)
	}
	if err != nil {
		r.Metal.Error = err.Error()
	}
	return r
}

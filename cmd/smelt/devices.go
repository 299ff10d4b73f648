package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/models"
)

// deviceOptions are the flags that concern devices.
type deviceOptions struct {
	name string
	devices.Options
}

// pagingFlag is the flag of commands that open a device of the processor.
func pagingFlag(f *pflag.FlagSet, to *bool) {
	f.BoolVar(to, "allow-paging", false, "run even if the weights do not fit into memory, as fast as the disk gives them")
}

// gpuFlag is for commands that can run kernels on a card.
func gpuFlag(f *pflag.FlagSet, to *int) {
	intFlag(f, to, "gpu", "", 0, cardNumbers, "number of the card of --device cuda, counted from 0")
}

// targetFlag is for commands that run kernels, where a device may have those of several
// machines.
func targetFlag(cmd *cobra.Command, to *string) {
	var several []string
	for _, k := range devices.All() {
		if len(k.Targets) > 1 {
			several = append(several, fmt.Sprintf("%s for --device %s", strings.Join(k.Targets, " or "), k.Name))
		}
	}
	cmd.Flags().StringVar(to, "target", "", "whose kernels the device runs: "+strings.Join(several, ", ")+" (default: the first)")
	completeWords(cmd, "target", targetsToComplete()...)
}

func (o deviceOptions) check() error {
	all := devices.All()
	k, ok := all.Named(o.name)
	switch {
	case !ok && o.name != devices.Auto:
		return fmt.Errorf("--device %s: expected %s", o.name, all.Choices())
	case o.Target == "":
		return nil
	case !ok:
		return fmt.Errorf("--target %s needs a --device that runs its kernels: auto may take any", o.Target)
	}
	return checkTarget(k, o.Target)
}

// checkTarget refuses a target whose kernels a device cannot run.
func checkTarget(k devices.Kind, name string) error {
	if _, err := k.Runs(name); err != nil {
		return errors.New(option.Text(err, flagOf))
	}
	return nil
}

// openDevice prepares a device; b is nil for a checkpoint. It says on
// standard error which device it took and why, unless the device was named.
func openDevice(io stdio, o deviceOptions, m *models.Model, b *bundle.Bundle) (device.Device, error) {
	return openFirst(devices.All(), io, o, modelFor(m, b))
}

// openFirst opens the named device of a table, or the first that this machine has.
func openFirst(t devices.Table, io stdio, o deviceOptions, m devices.Model) (device.Device, error) {
	o.Watch = io.watch()
	end := io.wait("preparing")
	d, choice, err := t.Open(o.name, m, o.Options)
	end()
	if err != nil {
		return nil, err
	}
	if choice.Why != "" {
		fmt.Fprintf(io.err, "device %s: %s (%s)\n", choice.Kind.Name, choice.Kind.Doc, choice.Why)
	}
	return d, nil
}

// modelFor is an open model as devices take it.
func modelFor(m *models.Model, b *bundle.Bundle) devices.Model {
	return devices.Model{Source: bundle.SourceOf(m), Weights: m.Weights, Bundle: b}
}

// watch says how a device is opened.
func (s stdio) watch() devices.Watch {
	return devices.Watch{Begin: s.phases(), Paging: notePaging(s), Note: func(why string) {
		fmt.Fprintf(s.err, "smelt: compiled anew, and not kept: %s\n", message.Line(why, 400))
	}}
}

// notePaging says how slow a model will be that does not fit into memory.
func notePaging(io stdio) func(text string) {
	return func(text string) { fmt.Fprintf(io.err, "note: %s\n", text) }
}

// deviceList has a line for each device: its name, what it runs, what it needs.
func deviceList() string {
	var b strings.Builder
	for _, k := range devices.All() {
		fmt.Fprintf(&b, "  %-11s%s", k.Name, k.Doc)
		if k.Needs != "" {
			fmt.Fprintf(&b, " (needs %s)", k.Needs)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

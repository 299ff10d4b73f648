package devices

import (
	"cmp"
	"sort"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
)

// gate is the gate that devices of these options go through.
func (o Options) gate() *admission.Gate {
	g := o.Gate
	if g == nil {
		g = admission.Here()
	}
	with := *g
	with.AllowPaging, with.Note = o.AllowPaging, o.Watch.Paging
	return &with
}

// admit has a device ask whether a bundle of the model may run, however it is planned, and
// how much memory there may be for what is kept of its slots.
func (o Options) admit(device string, m Model) admission.Ask {
	return func(b *bundle.Bundle, own ...admission.Part) (kept int64, err error) {
		needs, err := admission.Planned(device, b, m.Checkpoint, !m.made, own...)
		if err != nil {
			return 0, err
		}
		needs.Kept = o.CacheRAM
		return o.gate().Admit(needs)
	}
}

// Admits refuses a bundle that a device of the processor has no room for. Whoever has
// much to do before the device is opened, which asks again, asks by itself.
func Admits(device string, m Model, o Options) error {
	o.Watch = Watch{} // that one says what there is to say
	_, err := o.admit(device, m)(m.Bundle)
	return err
}

// enough refuses memory for what is kept of slots that has room for nothing of use.
func (o Options) enough(d device.Device) error {
	k, ok := d.(device.Keeper)
	if !ok || o.CacheRAM <= 0 {
		return nil
	}
	context := cmp.Or(o.Context, bundle.DefaultContext)
	if p, ok := d.(device.Planned); ok {
		context = p.Bundle().Plan.Context
	}
	newest, entries := k.FrontierBytes(context), k.EntriesBytes(0, min(context, DefaultChunk))
	if least := newest + entries; o.CacheRAM < least {
		return option.Errorf("%s of %s: a text's newest rows take %s, and the entries of %d tokens %s; give %s or more, or 0",
			option.Name("CacheRAM"), message.Bytes(o.CacheRAM), message.Bytes(newest), min(context, DefaultChunk), message.Bytes(entries), message.Bytes(least))
	}
	return nil
}

// DefaultChunk is how many rows a step of the evaluator has if nobody says: one is short
// enough to be cancelled, and long enough to decode each weight once for many rows.
const DefaultChunk = 128

// garbage is how many times what Go's heap holds it may take: its collector lets
// garbage grow until there is as much of it.
const garbage = 2

// Evaluates refuses a module of the model that the evaluator has no room for. Whoever opens
// no device but evaluates asks by itself.
func Evaluates[F tensor.Float](graph *ir.Module, m Model, o Options) error {
	_, err := evaluates[F](graph, m, o)
	return err
}

// evaluates is Evaluates, and tells how much memory there may be for what is kept of slots.
func evaluates[F tensor.Float](graph *ir.Module, m Model, o Options) (kept int64, err error) {
	sizes := eval.Sizes{Rows: cmp.Or(o.Chunk, DefaultChunk), Context: cmp.Or(o.Context, bundle.DefaultContext), Slots: max(o.Slots, 1)}
	if m.Bundle != nil {
		p := m.Bundle.Plan
		sizes.Context, sizes.Slots = cmp.Or(o.Context, p.Context), cmp.Or(o.Slots, p.Slots)
	}
	sizes.Wanted = sizes.Rows
	states, values, err := eval.Memory[F](graph, sizes)
	if err != nil {
		return 0, err
	}
	needs := admission.Needs{Device: "reference", Files: m.Checkpoint.Files, Weights: m.weights(), Reads: m.reads, Kept: o.CacheRAM, KeptTimes: garbage,
		Parts: []admission.Part{{Name: "caches", Bytes: garbage * states}, {Name: "activations", Bytes: garbage * values}}}
	needs.Less = func(limit int64) error { return smaller[F](graph, sizes, limit) }
	return o.gate().Admit(needs)
}

// smaller says which sizes the evaluator has room for.
func smaller[F tensor.Float](graph *ir.Module, s eval.Sizes, limit int64) error {
	fits := func(less eval.Sizes) bool {
		states, values, err := eval.Memory[F](graph, less)
		return err == nil && garbage*(states+values) <= limit
	}
	largest := func(now int, with func(n int) eval.Sizes) int {
		return sort.Search(now, func(n int) bool { return !fits(with(n + 1)) })
	}
	var ways []string
	var args []any
	if n := largest(s.Context, func(n int) eval.Sizes { less := s; less.Context = n; return less }); n > s.Rows {
		ways, args = append(ways, "%s %d, the longest that fits"), append(args, option.Name("Context"), n)
	}
	if n := largest(s.Slots, func(n int) eval.Sizes { less := s; less.Slots = n; return less }); n > 0 {
		ways, args = append(ways, "%s %d"), append(args, option.Name("Slots"), n)
	}
	if len(ways) == 0 {
		return option.Errorf("take a smaller %s than %d; no context fits with that", option.Name("Chunk"), s.Rows)
	}
	return option.Errorf("take "+strings.Join(ways, ", or "), args...)
}

// weights counts the bytes that steps read of the files; all of them where no kernel
// could read one.
func (m *Model) weights() (sum int64) {
	if m.Bundle != nil {
		return admission.Weights(m.Bundle)
	}
	params, err := storage.Bound(m.Checkpoint, m.Binding, m.Graph)
	if err != nil {
		for _, f := range m.Checkpoint.Files {
			sum += f.Size()
		}
		return sum
	}
	return params.Bytes()
}

// reads tells what a token reads of the weights, by a plan: one is made if there is
// none.
func (m *Model) reads() ([]admission.Read, error) {
	b := m.Bundle
	if b == nil {
		var err error
		if b, _, err = bundle.Compile(m.Source, bundle.Options{Lean: true}); err != nil {
			return nil, err
		}
	}
	return admission.Reads(b)
}

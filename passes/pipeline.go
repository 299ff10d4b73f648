package passes

import (
	"fmt"

	"smelt.example/smelt/internal/passes/cacheformat"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/ir"
)

// Formats says how the rows that attention looks at (Rows: f32, bf16 or fp8) and the
// index keys that choose among them (Keys: f32, bf16 or fp4) are stored. RopeExact keeps
// the rotated elements of fp8 rows as computed. Check refuses other names.
type Formats = cacheformat.Formats

// Options configure a pipeline.
type Options struct {
	// Formats are the caches'; the zero value leaves them as computed.
	Formats Formats
	// Lean lets stages forget their modules, all but the last: of the largest
	// models they take some 200 MB.
	Lean bool
	// Dump, if set, sees every stage: 0 is the input.
	Dump func(index int, pass string, m *ir.Module) error
	// Begin, if set, is told how the passes go on.
	Begin progress.Begin
}

// pipeline is the passes, one for each kind of region among them.
var pipeline = ordered(passesOver(fusion.Kinds()))

// passesOver returns the pipeline over these kinds of regions, and which passes
// must run before which.
func passesOver(kinds []fusion.Kind) ([]pass, []order) {
	passes := []pass{
		{"canonicalise", "drop what nothing uses, and moves of data that move nothing", canonicalise},
		{"cache-formats", "choose how caches are stored, and round what is appended to that", cacheFormats},
	}
	orders := []order{
		{"canonicalise", "cache-formats", "what nothing uses must not decide on a format"},
	}
	for _, k := range kinds {
		row := k.About()
		passes = append(passes, pass{row.Pass, row.Doc, fuse(k)})
		orders = append(orders,
			order{"canonicalise", row.Pass, "fusions are looked for in one spelling"},
			order{row.Pass, "check-fused", "what a fusion covers must not be refused"})
		for _, o := range row.After {
			orders = append(orders, order{o.Pass, row.Pass, o.Why})
		}
		for _, o := range row.Before {
			orders = append(orders, order{row.Pass, o.Pass, o.Why})
		}
	}
	return append(passes, pass{"check-fused", "every operation is in a region", checkFused}), orders
}

// order says that a pass must run before another one.
type order struct{ first, then, why string }

// ordered returns the pipeline, or panics: names are used once, every pass has
// its columns, and each order holds.
func ordered(passes []pass, orders []order) []pass {
	at := map[string]int{}
	for i, p := range passes {
		if p.Name == "" || p.Doc == "" || p.Run == nil {
			panic(fmt.Sprintf("passes: pass %d (%q) lacks its name, doc or function", i, p.Name))
		}
		if _, twice := at[p.Name]; twice {
			panic("passes: two passes are named " + p.Name)
		}
		at[p.Name] = i
	}
	for _, o := range orders {
		first, known := at[o.first]
		then, both := at[o.then]
		if !known || !both || o.why == "" {
			panic(fmt.Sprintf("passes: the order %q before %q names unknown passes or lacks a reason", o.first, o.then))
		}
		if first >= then {
			panic(fmt.Sprintf("passes: %s must run before %s: %s", o.first, o.then, o.why))
		}
	}
	return passes
}

// cacheFormats is cacheformat.Choose as a pass.
func cacheFormats(c *passRun, m *ir.Module) (*ir.Module, error) {
	if c.Options.Formats == (Formats{}) {
		return m, nil
	}
	out, choices, err := cacheformat.Choose(m, c.Options.Formats)
	if err != nil {
		return nil, err
	}
	for _, choice := range choices {
		c.fired("stored as " + choice.Format)
		c.note(choice.String())
	}
	return out, nil
}

package passes

import (
	"fmt"

	"smelt/ir"
	"smelt/passes/fusion"
)

// Options are what a pipeline can be told.
type Options struct {
	// Formats are the caches'; the zero value leaves them as computed.
	Formats Formats
	// Lean lets stages forget their modules, all but the last: of the largest
	// models they take some 200 MB.
	Lean bool
	// Dump, if set, sees every stage: 0 is the input. See DumpTo.
	Dump func(index int, pass string, m *ir.Module) error
}

var pipeline = ordered([]Pass{
	{"canonicalise", "drop what nothing uses, and moves of data that move nothing", canonicalise},
	{"cache-formats", "choose how caches are stored, and round what is appended to that", cacheFormats},
	{"fuse-mix", "residual streams: write one half block's result, read the next one's input", fuse(fusion.FindMix)},
	{"fuse-experts", "routing and the chosen experts' hidden vectors", fuse(fusion.FindExperts)},
	{"fuse-attention", "sparse attention over a window and entries", fuse(fusion.FindAttention)},
	{"fuse-index", "the indexer's scores and its choice of entries", fuse(fusion.FindIndexTopK)},
	{"fuse-cache", "vectors that are pooled, normed, rotated, rounded and appended", fuse(fusion.FindCache)},
	{"fuse-linear", "products that share an input", fuse(fusion.FindLinear)},
	{"check-fused", "every operation is in a region", checkFused},
}, []order{
	{"canonicalise", "cache-formats", "what nothing uses must not decide on a format"},
	{"canonicalise", "fuse-mix", "fusions are looked for in one spelling"},
	{"cache-formats", "fuse-cache", "an append's rounding is part of its region"},
	{"cache-formats", "fuse-linear", "the indexer's queries are rounded where they are made"},
	{"fuse-mix", "fuse-linear", "the norm of a half block's input and the products of streams are the mixing's"},
	{"fuse-attention", "fuse-linear", "queries are cut into heads, normed and rotated where attention reads them"},
	{"fuse-cache", "fuse-linear", "the append of a finished vector is the cache's, that of a bare product is the product's"},
	{"fuse-linear", "check-fused", "products are what is left in the end"},
})

// order says that a pass must run before another one.
type order struct{ first, then, why string }

// ordered returns the pipeline, or panics: names are used once, every pass has
// its columns, and each order holds.
func ordered(passes []Pass, orders []order) []Pass {
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

// cacheFormats is the pass CacheFormats.
func cacheFormats(c *Context, m *ir.Module) (*ir.Module, error) {
	if c.Options.Formats == (Formats{}) {
		return m, nil
	}
	out, choices, err := CacheFormats(m, c.Options.Formats)
	if err != nil {
		return nil, err
	}
	for _, choice := range choices {
		c.Fired("stored as " + choice.Format)
		c.Note(choice.String())
	}
	return out, nil
}

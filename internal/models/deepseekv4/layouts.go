package deepseekv4

import (
	"slices"

	"smelt.example/smelt/internal/models/schema"
)

// wrapper begins every name of mlx-vlm's own conversions, which put each model into a
// larger one (field.md 7.3).
const wrapper = "language_model."

// Layouts lists the families of names V4 checkpoints come in; one file each.
// Within a family the stored formats, and whether experts are stacked, are
// found from the tensors themselves.
func Layouts() []schema.Layout {
	layouts := []schema.Layout{officialLayout(), mlxLayout(), transformersLayout()}
	for _, l := range slices.Clone(layouts) {
		layouts = append(layouts, l.Under(wrapper))
	}
	return layouts
}

// Ignores lists what a checkpoint may hold and smelt does not use.
func Ignores() []schema.Ignore {
	const mtp, images = "the multi-token-prediction block is not used yet", "images are not read yet"
	return []schema.Ignore{
		{Prefix: "mtp.{l}.", Reason: mtp}, {Prefix: "model.mtp.{l}.", Reason: mtp},
		{Prefix: wrapper + "mtp.{l}.", Reason: mtp}, {Prefix: wrapper + "model.mtp.{l}.", Reason: mtp},
		{Prefix: "vision.", Reason: images}, {Prefix: "aligner.", Reason: images},
	}
}

// rules makes a layout's table from pairs: the parameter, then its stems.
func rule(param string, stems ...string) schema.Rule {
	r := schema.Rule{Param: param}
	for _, s := range stems {
		r.Places = append(r.Places, schema.Place{Stem: s})
	}
	return r
}

func placed(param string, places ...schema.Place) schema.Rule {
	return schema.Rule{Param: param, Places: places}
}

func stacked(stem string) schema.Place {
	return schema.Place{Stem: stem, Note: "experts stacked"}
}

func apart(stem string) schema.Place {
	return schema.Place{Stem: stem, Note: "one tensor per expert"}
}

func inPieces(stem string) schema.Place {
	return schema.Place{Stem: stem, Note: "wo_a in pieces"}
}

// fused is a place in a tensor that holds several parameters' rows in order.
func fused(stem, note string, params ...string) schema.Place {
	return schema.Place{Stem: stem, Fused: params, Note: note}
}

package deepseekv4

import (
	"smelt.example/smelt/models/checkpoint"
)

// Layouts lists the families of names V4 checkpoints come in; one file each.
// Within a family the stored formats, and whether experts are stacked, are
// found from the tensors themselves.
func Layouts() []checkpoint.Layout {
	return []checkpoint.Layout{officialLayout(), mlxLayout(), transformersLayout()}
}

// Ignores lists what a checkpoint may hold and smelt does not use.
func Ignores() []checkpoint.Ignore {
	const mtp = "the multi-token-prediction block is not used yet"
	return []checkpoint.Ignore{{Prefix: "mtp.{l}.", Reason: mtp}, {Prefix: "model.mtp.{l}.", Reason: mtp}}
}

// rules makes a layout's table from pairs: the parameter, then its stems.
func rule(param string, stems ...string) checkpoint.Rule {
	r := checkpoint.Rule{Param: param}
	for _, s := range stems {
		r.Places = append(r.Places, checkpoint.Place{Stem: s})
	}
	return r
}

func placed(param string, places ...checkpoint.Place) checkpoint.Rule {
	return checkpoint.Rule{Param: param, Places: places}
}

func stacked(stem string) checkpoint.Place {
	return checkpoint.Place{Stem: stem, Note: "experts stacked"}
}

func apart(stem string) checkpoint.Place {
	return checkpoint.Place{Stem: stem, Note: "one tensor per expert"}
}

func inPieces(stem string) checkpoint.Place {
	return checkpoint.Place{Stem: stem, Note: "wo_a in pieces"}
}

// fused is a place in a tensor that holds several parameters' rows in order.
func fused(stem, note string, params ...string) checkpoint.Place {
	return checkpoint.Place{Stem: stem, Fused: params, Note: note}
}

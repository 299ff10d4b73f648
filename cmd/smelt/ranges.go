package main

import (
	"runtime"

	"smelt.example/smelt/bench"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
)

// Ranges of numbers that several commands take. Those of sizes are the planner's;
// a model or a bundle has narrower ones, which are checked when it is open.
var (
	contexts     = from(1, plan.MaxContext)
	chunks       = from(1, plan.MaxChunk)
	slotCounts   = from(1, plan.MaxSlots)
	wanteds      = from(1, plan.MaxWanted)
	decodeRows   = from(1, program.MaxDecodeRows)
	layerNumbers = from(0, maxLayers-1)
	tokenCounts  = from(1, plan.MaxContext)
	textCounts   = from(1, 128)
	repeats      = from(1, bench.MaxRepeat)
)

// maxLayers is more than any model has.
const maxLayers = 1024

// threadCounts is the range of --threads. Kernels' threads wait for each other in
// turns, so more of them than processors make a step many times slower.
func threadCounts() limits[int] {
	return limits[int]{least: 0, most: runtime.GOMAXPROCS(0), words: "the processors there are"}
}

// cardNumbers are those of cards: more than 64 in a machine nobody has.
var cardNumbers = from(0, 63)

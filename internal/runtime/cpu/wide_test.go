package cpu

import (
	"testing"

	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
)

// TestWide: a layer of V4-Flash at full width, with the indexer and scored routing.
func TestWide(t *testing.T) {
	if !sample.Full() {
		t.Skip("not make full: a layer takes 6 GB and the evaluator two minutes")
	}
	devicetest.Wide(t, devicetest.WideLayers["4_score"], 7, true, open)
}

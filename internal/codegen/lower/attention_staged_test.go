package lower

import (
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
)

// TestAttentionStaged: decode steps on a GPU, whose splits are tiles in threadgroup
// memory. Texts end at, before and behind the edges of the window, of splits and of
// what a list takes; heads, vectors and formats fill SIMD groups or do not.
func TestAttentionStaged(t *testing.T) {
	edges := func(window, ratio, k int) (rows []ir.Row) {
		at := []int{0, 1, window - 1, window, window + 1, stagedKeys - 1, stagedKeys, 2*stagedKeys - 1, 2 * stagedKeys}
		if ratio > 0 {
			for _, entries := range []int{1, stagedKeys, stagedKeys + 1, max(k, 3)} {
				at = append(at, ratio*entries-2, ratio*entries-1, ratio*(entries+1))
			}
		}
		slices.Sort(at)
		for i, p := range slices.Compact(at) {
			rows = append(rows, slotRows(int32(i%3), int32(p))...)
		}
		return rows
	}
	few := slices.Concat(slotRows(0, 0), slotRows(1, 130), slotRows(2, 70))
	// Splits of one tile and of two, of the most there are, and of more keys than those have.
	all := stagedSplits * stagedKeys
	long := slices.Concat(slotRows(0, int32(all-33)), slotRows(1, int32(all-32)), slotRows(2, int32(2*all-32)),
		slotRows(0, 5), slotRows(1, int32(stagedTiles*all-32)), slotRows(2, int32(stagedTiles*all+900)))
	for _, c := range sample.Short(t, []attentionCase{
		{heads: 8, dim: 128, rotated: 64, size: 16, rows: edges(16, 0, 0)},
		{heads: 12, dim: 128, rotated: 64, size: 20, rows: edges(20, 0, 0), format: "bf16"},
		{heads: 16, dim: 128, rotated: 64, size: 32, ratio: 4, k: 20, rows: edges(32, 4, 20), format: "fp8_b64_r64"},
		{heads: 16, dim: 128, rotated: 64, size: 33, ratio: 4, k: 16, rows: edges(33, 4, 16), format: "fp8_b64_r64", emptyTail: true},
		{heads: 8, dim: 96, rotated: 32, size: 8, ratio: 2, rows: edges(8, 2, 0), format: "fp8_b64_r32"},
		{heads: 5, dim: 64, rotated: 6, size: 5, ratio: 3, rows: edges(5, 3, 0), withoutNorm: true},
		{heads: 2, dim: 36, rotated: 34, size: 17, ratio: 4, k: 3, rows: edges(17, 4, 3)},
		{heads: 8, dim: 128, rotated: 4, size: 40, ratio: 4, k: 33, rows: edges(40, 4, 33), format: "fp4_b32"},
		{heads: 32, dim: 512, rotated: 64, size: 128, ratio: 4, k: 32, rows: few, format: "fp8_b64_r64"},
		{heads: 16, dim: 512, rotated: 64, size: 24, ratio: 4, rows: few},
		{heads: 8, dim: 32, rotated: 16, size: 17, ratio: 1, rows: long, format: "bf16"},
		{heads: 8, dim: 32, rotated: 16, size: 40, ratio: 1, k: 700, rows: long[:3]},
		{heads: 4, dim: 1032, rotated: 16, size: 9, ratio: 8, rows: few, format: "bf16"},
		{heads: 8, dim: 64, rotated: 64, size: 5, rows: edges(5, 0, 0), sink: -60},
		{heads: 8, dim: 64, rotated: 64, size: 40, ratio: 4, rows: edges(40, 4, 0), sink: 30},
	}, 5) {
		small, err := target.GPU.WithThreads(64)
		if err != nil {
			t.Fatal(err)
		}
		for _, c.target = range sample.Short(t, []target.Target{target.GPU, small}, 1) {
			step := c
			for step.rows = range slices.Chunk(c.rows, 3) {
				a := newAttentionTest(t, step)
				a.check(t, a.run(t))
			}
		}
	}
}

// TestAttentionStagedText: the Metal text of a split and its merge does what the
// interpreter does.
func TestAttentionStagedText(t *testing.T) {
	c := attentionCase{target: target.GPU, heads: 8, dim: 128, rotated: 64, size: 20, ratio: 4, k: 20, format: "fp8_b64_r64",
		rows: slices.Concat(slotRows(0, 3), slotRows(1, 90))}
	a := newAttentionTest(t, c)
	a.mem.text = true
	a.check(t, a.run(t))
}

// TestAttentionStagedBusy: one row of V4-Flash's attention makes threadgroups for
// more than half of the cores, whatever it looks at, as far as its keys allow; none
// goes through more keys than a tile has.
func TestAttentionStagedBusy(t *testing.T) {
	for _, x := range []struct {
		ratio, k, context, groups int
	}{
		{0, 0, 2048, 32}, {4, 512, 2048, 160}, {128, 0, 2048, 36}, {128, 0, 65536, 160}, {128, 0, 1 << 20, 2080},
	} {
		c := attentionCase{target: target.GPU, heads: 64, dim: 512, rotated: 64, size: 128, ratio: x.ratio, k: x.k, format: "fp8_b64_r64", rows: slotRows(0, 0)}
		a := newAttentionTest(t, c)
		launches, err := lowerAttention(a.in, a.view)
		if err != nil {
			t.Fatal(err)
		}
		value := func(e ir.Expr) int64 {
			n, err := e.Eval(func(symbol string) (int64, bool) {
				if symbol == "T" {
					return 1, true
				}
				return int64(x.context), true
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		at := launches[0]
		if got := value(at.Grid[0]) * value(at.Grid[1]) * value(at.Grid[2]); got != int64(x.groups) {
			t.Errorf("ratio %d at %d tokens: %d threadgroups, expected %d", x.ratio, x.context, got, x.groups)
		}
		plan := &attention{Attention: a.view, in: a.in}
		if plan.schedule(); plan.keys != stagedKeys {
			t.Errorf("ratio %d: splits of %d keys", x.ratio, plan.keys)
		}
		if got := value(launches[1].Grid[0]); got < 3*int64(target.GPU.Cores) {
			t.Errorf("ratio %d: %d threadgroups merge", x.ratio, got)
		}
	}
}

package stepblock

import (
	"encoding/binary"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// TestScoreTargets: the block has the targets of the rows that are scored, in what a step
// is said to use, and a step that is filled anew has none.
func TestScoreTargets(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 3)
	f := New(s)
	block := make([]byte, f.Bytes())
	at := s.Layout.Offset(program.ScoreTarget)
	fill := func(n int) (targets []int32) {
		t.Helper()
		rows, wanted := make([]ir.Row, n), make([]int, n)
		if err := f.Fill(block, rows, wanted, nil); err != nil {
			t.Fatal(err)
		}
		return targetsOf(block[at:], n)
	}
	last := int32(s.Vocab - 1)
	for _, c := range []struct{ targets, want []int32 }{
		{[]int32{last, 0, 1}, []int32{last, 0, 1}}, {[]int32{-1, 0}, []int32{-1, 0}}, {[]int32{-7}, []int32{-1}}, {[]int32{last}, []int32{last}},
	} {
		n := len(c.targets)
		fill(n)
		if err := f.Score(block, c.targets); err != nil {
			t.Fatal(err)
		}
		if got := targetsOf(block[at:], n); !slices.Equal(got, c.want) {
			t.Errorf("%v: the block has %v", c.targets, got)
		}
		if used := f.Used(); !slices.ContainsFunc(used, func(u Span) bool { return u.From <= at && at+4*n <= u.To }) {
			t.Errorf("%v: a step uses %v, and not the targets at %d", c.targets, used, at)
		}
	}
	for _, left := range fill(3) {
		if left != -1 {
			t.Errorf("a step that asks for no scores has the target %d", left)
		}
	}
	for _, bad := range [][]int32{{last + 1}, {0, 1 << 30}, {0, 0, 0, 0}} {
		if err := f.Score(block, bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if n := testing.AllocsPerRun(100, func() { f.Score(block, []int32{1, 2, 0}[:2]) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	m.Results = m.Results[1:]
	if err := New(program.NewStep(m, 3)).Score(block, nil); err == nil {
		t.Error("scores were accepted where there are no logits")
	}
}

func targetsOf(b []byte, n int) (targets []int32) {
	for i := range n {
		targets = append(targets, int32(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return targets
}

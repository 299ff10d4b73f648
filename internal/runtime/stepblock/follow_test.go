package stepblock

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/runtime/sampling"
)

// TestFollow: rows name the tokens that they take, and a step that is filled anew takes
// its own.
func TestFollow(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 3)
	f := New(s)
	block := make([]byte, f.Bytes())
	rows, wanted := make([]ir.Row, 3), []int{0, 1, 2}
	sources := func() []int32 { return intsOf(block[s.Layout.Offset(program.Source):], 3) }
	fill := func() {
		t.Helper()
		if err := f.Fill(block, rows, wanted, nil); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if err := f.Follow(block, []int32{2, -9, program.MaxSampled}); err != nil {
		t.Fatal(err)
	}
	if got := sources(); !slices.Equal(got, []int32{2, -1, program.MaxSampled}) {
		t.Errorf("the block has the sources %v", got)
	}
	if at := s.Layout.Offset(program.Source); !slices.ContainsFunc(f.Used(), func(u Span) bool { return u.From <= at && at+12 <= u.To }) {
		t.Errorf("a step uses %v, and not the sources at %d", f.Used(), at)
	}
	fill()
	if got := sources(); !slices.Equal(got, []int32{-1, -1, -1}) {
		t.Errorf("a step that is filled anew has the sources %v", got)
	}
	for _, bad := range [][]int32{{0, 0, 0, 0}, {program.TokenSets * program.MaxSampled}} {
		if err := f.Follow(block, bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	m.Results = m.Results[1:]
	if err := New(program.NewStep(m, 3)).Follow(block, nil); err == nil {
		t.Error("a module without logits has tokens to follow on")
	}
}

// TestChooseLater: what is chosen after Fill is what Fill writes with choices, in the set
// asked for, and nothing that other kernels read changes.
func TestChooseLater(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 3)
	f, whole := New(s), New(s)
	rows, wanted := []ir.Row{{Token: 3}, {Token: 4, Position: 1}}, []int{1, 0}
	choices := []sampling.Choice{{Inv: 2, TopK: 3, Changes: changes(2)}, {}}
	want, block := make([]byte, f.Bytes()), make([]byte, f.Bytes())
	if err := whole.Fill(want, rows, wanted, choices); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(want[s.Layout.Offset(program.SampleInto):], program.MaxSampled)
	if err := f.Fill(block, rows, wanted, nil); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(block)
	if err := f.Choose(block, 1, choices); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(block, want) {
		t.Error("the block differs from one that is filled with choices")
	}
	for i := range block {
		if block[i] != before[i] && !slices.ContainsFunc(f.Used(), func(u Span) bool { return u.From <= i && i < u.To }) {
			t.Fatalf("byte %d changes, which is not used", i)
		}
	}
	if from := f.Used()[0].From; from != s.Layout.Offset(program.SampleInto) {
		t.Errorf("what is used begins at %d, where other kernels read", from)
	}
	if err := f.Choose(block, 0, choices[:1]); err == nil {
		t.Error("one choice for two rows was accepted")
	}
}

func intsOf(b []byte, n int) (list []int32) {
	for i := range n {
		list = append(list, int32(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return list
}

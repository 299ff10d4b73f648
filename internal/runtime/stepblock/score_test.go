package stepblock

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

func ask(row, token, top int32) program.Ask { return program.Ask{Row: row, Token: token, Top: top} }

// TestScoreAsks: the block has the asks, in the only parts that scoring is said to use, and
// nothing else of it changes; a step that is filled anew scores nothing.
func TestScoreAsks(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 3)
	f := New(s)
	block := bytes.Repeat([]byte{0x5a}, f.Bytes())
	fill := func(wanted int) {
		t.Helper()
		if err := f.Fill(block, make([]ir.Row, 3), make([]int, wanted), nil); err != nil {
			t.Fatal(err)
		}
		if n, ok := f.Symbol(program.ScoredTokens); n != 0 || !ok {
			t.Errorf("a step that nobody asked scores %d tokens", n)
		}
	}
	last := int32(s.Vocab - 1)
	for _, asks := range [][]program.Ask{{ask(0, last, 0), ask(2, 0, 20), ask(1, -1, 1)}, {ask(2, -7, 3)}, {ask(1, 1, 0), ask(1, 2, 0)}} {
		fill(3)
		before := bytes.Clone(block)
		if err := f.Score(block, 1, asks); err != nil {
			t.Fatal(err)
		}
		word := func(field string, i int) int32 {
			return int32(binary.LittleEndian.Uint32(block[s.Layout.Offset(field)+4*i:]))
		}
		for i, a := range asks {
			if got, want := [3]int32{word(program.ScoreRow, i), word(program.ScoreToken, i), word(program.ScoreTop, i)}, [3]int32{a.Row, max(a.Token, -1), a.Top}; got != want {
				t.Errorf("%v: the block has %v", want, got)
			}
		}
		if n, _ := f.Symbol(program.ScoredTokens); int(n) != len(asks) || word(program.ScoreInto, 0) != program.MaxSampled {
			t.Errorf("%d tokens of %d are scored, from place %d on", n, len(asks), word(program.ScoreInto, 0))
		}
		used := f.Used()
		for i := range block {
			in := slices.ContainsFunc(used, func(u Span) bool { return u.From <= i && i < u.To })
			if !in && block[i] != before[i] {
				t.Fatalf("%v: byte %d was written, which scoring does not use", used, i)
			}
		}
		for _, field := range []string{program.ScoreRow, program.ScoreToken, program.ScoreTop, program.ScoreInto} {
			at := s.Layout.Offset(field)
			if !slices.ContainsFunc(used, func(u Span) bool { return u.From <= at && at+4 <= u.To }) {
				t.Errorf("scoring uses %v, and not %s at %d", used, field, at)
			}
		}
	}
	fill(2)
	for _, bad := range [][]program.Ask{{ask(0, last+1, 0)}, {ask(2, 0, 0)}, {ask(-1, 0, 0)}, {ask(0, 0, 21)}, {ask(0, 0, -1)}, make([]program.Ask, 4)} {
		if err := f.Score(block, 0, bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	asks := []program.Ask{ask(0, 1, 2), ask(1, -1, 20)}
	if n := testing.AllocsPerRun(100, func() { f.Score(block, 0, asks) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	m.Results = m.Results[1:]
	if err := New(program.NewStep(m, 3)).Score(block, 0, nil); err == nil {
		t.Error("scores were accepted where there are no logits")
	}
}

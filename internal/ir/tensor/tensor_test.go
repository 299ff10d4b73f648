package tensor_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
)

func row(slot int32, index int) []float64 {
	return []float64{float64(slot), float64(index)}
}

func mustAppend(t *testing.T, l *tensor.Log[float64], slot int32, index int) {
	t.Helper()
	if err := l.Append(slot, index, row(slot, index)); err != nil {
		t.Fatal(err)
	}
}

func TestLogErrors(t *testing.T) {
	l := tensor.NewLog[float64](2)
	mustAppend(t, l, 3, 0)
	for _, c := range []struct {
		what string
		err  error
		want string
	}{
		{"gap", l.Append(3, 2, row(3, 2)), "slot 3: appends row 2 where row 1 is next"},
		{"again", l.Append(3, 0, row(3, 0)), "slot 3: appends row 0 where row 1 is next"},
		{"fresh slot", l.Append(4, 1, row(4, 1)), "slot 4: appends row 1 where row 0 is next"},
		{"negative slot", l.Append(-1, 0, row(0, 0)), "slot -1: slots are numbered from 0"},
		{"row to come", rowError(l, 3, 1), "slot 3: row 1 is not kept (next is 1)"},
		{"negative row", rowError(l, 3, -1), "slot 3: row -1 is not kept (next is 1)"},
		{"empty slot", rowError(l, 9, 0), "slot 9: row 0 is not kept (next is 0)"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.what, c.err, c.want)
		}
	}
	if l.Next(3) != 1 || l.Next(4) != 0 || l.Width() != 2 {
		t.Errorf("next %d and %d, width %d", l.Next(3), l.Next(4), l.Width())
	}
}

func rowError(l *tensor.Log[float64], slot int32, index int) error {
	_, err := l.Row(slot, index)
	return err
}

// TestLogTrims keeps the last rows readable and drops old ones in time.
func TestLogTrims(t *testing.T) {
	const keep = 5
	l := tensor.NewLog[float64](2)
	for i := range 1000 {
		mustAppend(t, l, 0, i)
		l.Commit(0, keep)
		for k := max(0, i-keep+1); k <= i; k++ {
			got, err := l.Row(0, k)
			if err != nil || !slices.Equal(got, row(0, k)) {
				t.Fatalf("after %d rows: row %d is %v, %v", i+1, k, got, err)
			}
		}
	}
	if err := rowError(l, 0, 1000-2*keep-64-1); err == nil {
		t.Error("no row was dropped")
	}
}

func TestLogKeepsAll(t *testing.T) {
	l := tensor.NewLog[float64](2)
	for i := range 300 {
		mustAppend(t, l, 0, i)
		l.Commit(0, int(^uint(0)>>1)) // the largest int
	}
	if _, err := l.Row(0, 0); err != nil {
		t.Error(err)
	}
	l.Commit(7, 0) // a slot nothing was appended to
	if l.Next(7) != 0 {
		t.Error("a commit filled a slot")
	}
}

func TestLogRowIsNotWidened(t *testing.T) {
	l := tensor.NewLog[float64](2)
	mustAppend(t, l, 0, 0)
	mustAppend(t, l, 0, 1)
	first, err := l.Row(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(first, 9); rowError(l, 0, 1) != nil || cap(first) != 2 {
		t.Errorf("a row reaches into the next: cap %d", cap(first))
	}
}

func TestLogRollbackAndPending(t *testing.T) {
	l := tensor.NewLog[float64](2)
	pending := func(want ...int32) {
		t.Helper()
		if got := l.Pending(); !slices.Equal(got, want) {
			t.Errorf("pending %v, want %v", got, want)
		}
	}
	pending()
	mustAppend(t, l, 2, 0)
	mustAppend(t, l, 1, 0)
	pending(1, 2)
	l.Commit(1, 4)
	pending(2)
	l.Rollback(2)
	pending()
	mustAppend(t, l, 1, 1)
	mustAppend(t, l, 1, 2)
	l.Rollback(1)
	if l.Next(1) != 1 || l.Next(2) != 0 {
		t.Errorf("next rows are %d and %d, want 1 and 0", l.Next(1), l.Next(2))
	}
	l.Rollback(1) // nothing to take back
	l.Rollback(5)
	if got, err := l.Row(1, 0); err != nil || !slices.Equal(got, row(1, 0)) {
		t.Errorf("committed row: %v, %v", got, err)
	}
	mustAppend(t, l, 1, 1)
	l.Reset(1)
	pending()
	if l.Next(1) != 0 || rowError(l, 1, 0) == nil {
		t.Error("reset left rows")
	}
	mustAppend(t, l, 1, 0)
	l.Rollback(1)
	if l.Next(1) != 0 {
		t.Error("a rollback after a reset goes back to before it")
	}
}

// TestLogAgainstLists compares random use with plain lists of all rows.
func TestLogAgainstLists(t *testing.T) {
	const seed = 21
	r := rand.New(rand.NewPCG(seed, 0))
	const slots, keep = 3, 7
	l := tensor.NewLog[float32](1)
	done, open := make([][]float32, slots), make([][]float32, slots)
	for step := range 5000 {
		s := r.IntN(slots)
		slot := int32(s)
		switch k := r.IntN(40); {
		case k == 0:
			l.Reset(slot)
			done[s], open[s] = nil, nil
		case k < 4:
			l.Rollback(slot)
			open[s] = nil
		case k < 8:
			l.Commit(slot, keep)
			done[s], open[s] = append(done[s], open[s]...), nil
		default:
			x := r.Float32()
			if err := l.Append(slot, len(done[s])+len(open[s]), []float32{x}); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			open[s] = append(open[s], x)
		}
		all := slices.Concat(done[s], open[s])
		if l.Next(slot) != len(all) {
			t.Fatalf("seed %d, step %d: next is %d, want %d", seed, step, l.Next(slot), len(all))
		}
		for i := max(0, len(done[s])-keep); i < len(all); i++ {
			if got, err := l.Row(slot, i); err != nil || got[0] != all[i] {
				t.Fatalf("seed %d, step %d: row %d is %v (%v), want %v", seed, step, i, got, err, all[i])
			}
		}
	}
}

// counting is a source whose element (r, c) is 10r+c.
type counting struct{ rows, cols int }

func (s counting) Rows() int { return s.rows }
func (s counting) Cols() int { return s.cols }
func (s counting) Row32(dst []float32, r int) {
	for c := range dst {
		dst[c] = float32(10*r + c)
	}
}
func (s counting) Row64(dst []float64, r int) {
	for c := range dst {
		dst[c] = float64(10*r + c)
	}
}
func (s counting) Ints([]int32, int) error { return fmt.Errorf("real numbers") }

func TestDense(t *testing.T) {
	want := []float64{0, 1, 10, 11, 20, 21}
	v := tensor.Value[float64]{Shape: []int{3, 2}, Rows: counting{3, 2}}
	if got := v.Dense(); !slices.Equal(got, want) {
		t.Errorf("decoded %v", got)
	}
	v32 := tensor.Value[float32]{Shape: []int{3, 2}, Rows: counting{3, 2}}
	for i, x := range v32.Dense() {
		if float64(x) != want[i] {
			t.Errorf("element %d decoded as %v", i, x)
		}
	}
	f := []float64{1, 2}
	if got := (tensor.Value[float64]{Shape: []int{2}, F: f}).Dense(); &got[0] != &f[0] {
		t.Error("a dense value was copied")
	}
}

func TestLen(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  int
	}{{nil, 1}, {[]int{0}, 0}, {[]int{3}, 3}, {[]int{2, 3, 4}, 24}, {[]int{2, 0, 4}, 0}} {
		if got := tensor.Len(c.shape); got != c.want {
			t.Errorf("Len(%v) is %d, want %d", c.shape, got, c.want)
		}
	}
}

func TestMatrix(t *testing.T) {
	m := tensor.NewMatrix([]float64{1, -2, 3, 0.1, 1 << 31, 7}, 3)
	if m.Rows() != 2 || m.Cols() != 3 {
		t.Errorf("%d x %d, want 2 x 3", m.Rows(), m.Cols())
	}
	f32, f64, ints := make([]float32, 3), make([]float64, 3), make([]int32, 3)
	m.Row32(f32, 1)
	m.Row64(f64, 1)
	if !slices.Equal(f32, []float32{0.1, 1 << 31, 7}) || !slices.Equal(f64, []float64{0.1, 1 << 31, 7}) {
		t.Errorf("row 1: %v, %v", f32, f64)
	}
	if err := m.Ints(ints, 0); err != nil || !slices.Equal(ints, []int32{1, -2, 3}) {
		t.Errorf("row 0 as integers: %v (%v)", ints, err)
	}
	for _, bad := range []float64{0.5, 1 << 31, math.NaN(), math.Inf(1)} {
		if err := tensor.NewMatrix([]float64{bad}, 1).Ints(ints, 0); err == nil {
			t.Errorf("%v was taken for an integer", bad)
		}
	}
}

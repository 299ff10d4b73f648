package eval_test

import (
	"errors"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
)

// stored is a parameter in a file that changes.
type stored struct {
	tensor.Matrix
	file *file
}

func (s stored) Files() tensor.Files { return s.file }

func (s stored) Row32(dst []float32, r int) {
	if r == s.file.gone {
		panic(s.file.panics)
	}
	s.Matrix.Row32(dst, r)
}

type file struct {
	gone          int // row
	panics        any
	ready, intact error
	asked         int
}

func (f *file) Ready() error { return f.ready }

func (f *file) Intact() error {
	f.asked++
	return f.intact
}

// TestStored: what files say, before the first step and after each, is the
// machine's error, and so is a row that cannot be read, in whatever goroutine. A
// step that fails leaves no trace; other panics pass on.
func TestStored(t *testing.T) {
	m := parse(t, head+`param @e : tensor<8 x 4 x f32>
param @w : tensor<64 x 4 x f32>
state @s : tensor<64 x f32> keep 2
%e = dequantize @e : tensor<8 x 4 x f32>
%w = dequantize @w : tensor<64 x 4 x f32>
%x = take_rows(%e, %token) : tensor<T x 4 x f32>
%y = matmul(%x, %w) : tensor<T x 64 x f32>
%v = state @s : state<64 x f32>
%n = append(%v, %slot, %position, %y) : state<64 x f32>
return %y
`)
	unreadable, changed := errors.New("unreadable"), errors.New("changed")
	f := &file{gone: -1, panics: &tensor.Unreadable{Err: unreadable}}
	weights := func(name string) tensor.Source {
		if name == "e" {
			return stored{random(1, 8, 4), f}
		}
		return stored{random(2, 64, 4), f}
	}
	f.ready = changed
	if _, err := eval.New[float32](m, weights); !errors.Is(err, changed) {
		t.Errorf("not ready: %v", err)
	}
	f.ready = nil
	ma, err := eval.New[float32](m, weights)
	if err != nil {
		t.Fatal(err)
	}
	step := func(want error) {
		t.Helper()
		before := f.asked
		if _, err := ma.Step(rows(0, 0, 1, 2), nil); !errors.Is(err, want) {
			t.Errorf("error %v, expected %v", err, want)
		}
		if f.asked != before+1 {
			t.Errorf("the file was asked %d times in a step", f.asked-before)
		}
	}
	for _, f.gone = range []int{1, 63, 40} { // one is in both parameters
		step(unreadable)
	}
	f.intact = changed
	step(changed) // which says more than that a row cannot be read
	f.gone = -1
	step(changed)
	f.intact = nil
	f.gone, f.panics = 1, "mine"
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("another panic: %v", r)
			}
		}()
		_, _ = ma.Step(rows(0, 0, 1, 2), nil)
	}()
	f.gone = -1
	ma.Reset(0)
	step(nil)
}

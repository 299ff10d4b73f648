package sample

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	t.Setenv("SMELT_FULL", "")
	all := []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}
	got := Of(t, all, 4)
	if len(got) != 4 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 4 || got[0] < 10 || got[3] > 19 {
		t.Errorf("drew %v of %v, expected 4 in order", got, all)
	}
	if again := Of(t, all, 4); !slices.Equal(again, got) {
		t.Errorf("drew %v, then %v", got, again)
	}
	if got := Of(t, all, 10); !slices.Equal(got, all) {
		t.Errorf("drew %v of all of %v", got, all)
	}
	t.Setenv("SMELT_FULL", "1")
	if got := Of(t, all, 4); !slices.Equal(got, all) {
		t.Errorf("in full, drew %v of %v", got, all)
	}
}

// TestDraw: seeds and tests choose differently, and everything is chosen at times.
func TestDraw(t *testing.T) {
	seen, differ := map[int]bool{}, 0
	for seed := range uint64(64) {
		a, b := draw(seed, "TestA", 12, 3), draw(seed, "TestB", 12, 3)
		for _, k := range a {
			seen[k] = true
		}
		if !slices.Equal(a, b) {
			differ++
		}
	}
	if len(seen) != 12 || differ < 56 {
		t.Errorf("64 seeds chose %d of 12 cases, and two tests differently %d times", len(seen), differ)
	}
}

func TestShort(t *testing.T) {
	t.Setenv("SMELT_FULL", "")
	want := 4
	if testing.Short() {
		want = 2
	}
	if got := Short(t, []int{1, 2, 3, 4}, 2); len(got) != want || !slices.IsSorted(got) {
		t.Errorf("%v of 4, expected %d", got, want)
	}
}

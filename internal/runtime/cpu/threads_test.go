package cpu

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"smelt.example/smelt/models/checkpoint"
)

// More threads than processors are refused, before anything is made.
func TestTooManyThreads(t *testing.T) {
	for _, threads := range []int{-1, runtime.GOMAXPROCS(0) + 1, 999_999, math.MaxInt, math.MinInt} {
		d, err := Open(nil, &checkpoint.Checkpoint{}, Options{Threads: threads})
		if d != nil || err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d threads asked for: expected 1 to %d", threads, runtime.GOMAXPROCS(0))) {
			t.Errorf("%d threads: %v, %v", threads, d, err)
		}
	}
}

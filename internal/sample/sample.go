// Package sample draws what a test tries, where trying everything takes longer
// than a run of all tests may: another choice in every run, which over many runs
// sees all. Environment variables set the choice:
//
//	SMELT_FULL=1   everything (make full)
//	SMELT_SEED=N   the choice that a test which failed has logged
package sample

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Full reports whether tests try everything.
func Full() bool { return os.Getenv("SMELT_FULL") != "" }

// seed is the same in all tests of a process.
var seed = sync.OnceValues(func() (uint64, error) {
	if s := os.Getenv("SMELT_SEED"); s != "" {
		return strconv.ParseUint(s, 10, 64)
	}
	return uint64(time.Now().UnixNano()), nil
})

// Of returns n of all, in their order and drawn for this test, or all of them if
// there are no more or Full. The test's log says how to draw them again.
func Of[T any](t testing.TB, all []T, n int) []T {
	t.Helper()
	if n >= len(all) || Full() {
		return all
	}
	s, err := seed()
	if err != nil {
		t.Fatalf("SMELT_SEED: %v", err)
	}
	t.Logf("%d of %d cases are tried; SMELT_SEED=%d draws the same, SMELT_FULL=1 tries all", n, len(all), s)
	chosen := draw(s, t.Name(), len(all), n)
	out := make([]T, n)
	for i, k := range chosen {
		out[i] = all[k]
	}
	return out
}

// Short is Of with -short, and else all.
func Short[T any](t testing.TB, all []T, n int) []T {
	t.Helper()
	if !testing.Short() {
		return all
	}
	return Of(t, all, n)
}

// draw returns n different numbers below total in order.
func draw(seed uint64, name string, total, n int) []int {
	h := fnv.New64a()
	h.Write([]byte(name))
	chosen := rand.New(rand.NewPCG(seed, h.Sum64())).Perm(total)[:n]
	slices.Sort(chosen)
	return chosen
}

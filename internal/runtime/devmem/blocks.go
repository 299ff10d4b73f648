package devmem

import "slices"

// blocks are memory in equal pieces, which are taken and given back. Equal ones leave no
// holes that are too small for anything; those that lie side by side are copied as one, so
// that what is taken has as few runs as there can be.
type blocks struct {
	size  int64 // of one, in bytes
	all   int
	taken int
	free  []run // in order; no two touch
}

// run is blocks that lie side by side.
type run struct{ first, n int }

// newBlocks are as many as memory of so many bytes has.
func newBlocks(size, bytes int64) *blocks {
	b := &blocks{size: size, all: int(bytes / size)}
	if b.all > 0 {
		b.free = []run{{0, b.all}}
	}
	return b
}

// count is how many blocks hold so many bytes.
func (b *blocks) count(bytes int64) int64 { return (bytes + b.size - 1) / b.size }

// take takes n blocks: out of the shortest run that has them all, else the longest runs
// there are. It takes none if there are fewer.
func (b *blocks) take(n int64) (runs []run, ok bool) {
	if n > int64(b.all-b.taken) {
		return nil, false
	}
	b.taken += int(n)
	for left := int(n); left > 0; {
		best := 0
		for i, r := range b.free {
			if have := b.free[best].n; r.n >= left && (have < left || r.n < have) || r.n < left && r.n > have {
				best = i
			}
		}
		r := &b.free[best]
		got := run{r.first, min(r.n, left)}
		runs, left = append(runs, got), left-got.n
		if r.first, r.n = r.first+got.n, r.n-got.n; r.n == 0 {
			b.free = slices.Delete(b.free, best, best+1)
		}
	}
	return runs, true
}

// give gives back what was taken.
func (b *blocks) give(runs []run) {
	for _, r := range runs {
		b.taken -= r.n
		at, _ := slices.BinarySearchFunc(b.free, r, func(a, r run) int { return a.first - r.first })
		b.free = slices.Insert(b.free, at, r)
		if next := at + 1; next < len(b.free) && r.first+r.n == b.free[next].first {
			b.free[at].n += b.free[next].n
			b.free = slices.Delete(b.free, next, next+1)
		}
		if before := at - 1; before >= 0 && b.free[before].first+b.free[before].n == r.first {
			b.free[before].n += b.free[at].n
			b.free = slices.Delete(b.free, at, at+1)
		}
	}
}

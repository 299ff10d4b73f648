package synthetic

import (
	"encoding/binary"
	"slices"

	"smelt.example/smelt/internal/ir/encoding"
)

// A generator makes a tensor's bytes. Every unit bytes depend only on the key
// and their place, so that a tensor can be cut between goroutines anywhere a
// emitter begins.
type generator interface {
	// unit is a multiple of 8.
	unit() int64
	// fill writes dst, which begins at byte at of the tensor.
	fill(dst []byte, key uint64, at int64)
}

// generators gives each plane of an encoding its values, so that the decoded
// matrix has about the mean and the standard deviation asked for; see
// encoding.RandomPlanes.
func generators(e encoding.Encoding, mean, std float64) []generator {
	var out []generator
	for _, r := range encoding.RandomPlanes(e, mean, std) {
		out = append(out, words{r})
	}
	return out
}

// words makes a plane of random words.
type words struct{ encoding.Random }

func (w words) unit() int64 { return int64(8 * len(w.Keep)) }

// together is how many bytes are made before they are changed: few enough that
// they are still in the first level of the cache.
const together = 4096

func (w words) fill(dst []byte, key uint64, at int64) {
	for ; len(dst) >= 8; dst = dst[min(together, len(dst)/8*8):] {
		now := dst[:min(together, len(dst)/8*8)]
		w.random(now, key, at)
		if w.Then != nil {
			w.Then(now)
		}
		at += int64(len(now))
	}
	if len(dst) > 0 {
		var last [8]byte
		w.fill(last[:], key, at)
		copy(dst, last[:])
	}
}

// random makes whole words, the first of which is at byte at.
func (w words) random(dst []byte, key uint64, at int64) {
	counter := key + uint64(at/8)*weyl
	if len(w.Keep) == 1 {
		keep, add := w.Keep[0], w.Add[0]
		for ; len(dst) >= 8; dst = dst[8:] {
			binary.LittleEndian.PutUint64(dst, mix(counter)&keep+add)
			counter += weyl
		}
		return
	}
	for i := int(at/8) % len(w.Keep); len(dst) >= 8; dst = dst[8:] {
		binary.LittleEndian.PutUint64(dst, mix(counter)&w.Keep[i]+w.Add[i])
		counter += weyl
		i = (i + 1) % len(w.Keep)
	}
}

// weyl is odd, so that its multiples go through all words; its bits are those of
// the golden ratio.
const weyl = 0x9e3779b97f4a7c15

// mix is a bijection whose every output bit depends on every input bit: the
// finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// idTable is I64 rows of different expert ids.
type idTable struct{ experts, chosen int }

func (t idTable) unit() int64 { return int64(8 * t.chosen) }

func (t idTable) fill(dst []byte, key uint64, at int64) {
	size := int(t.unit())
	row := uint64(at) / uint64(size)
	ids := make([]uint64, 0, t.chosen)
	for ; len(dst) >= size; dst = dst[size:] {
		ids = ids[:0]
		for counter := mix(key + row*weyl); len(ids) < t.chosen; counter += weyl {
			id := mix(counter) % uint64(t.experts)
			if !slices.Contains(ids, id) {
				binary.LittleEndian.PutUint64(dst[8*len(ids):], id)
				ids = append(ids, id)
			}
		}
		row++
	}
}

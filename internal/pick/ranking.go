package pick

// ranking is the total order of one row's tokens: higher logit first, then
// lower id, NaN last. heap is working memory, one entry per token.
type ranking struct {
	logits []float32
	heap   []int32
}

// before reports whether token a ranks before token b.
func before(logits []float32, a, b int32) bool {
	x, y := Key(logits[a]), Key(logits[b])
	return x > y || x == y && a < b
}

// keeps reports whether a token is a number and ranks no later than last.
func keeps(logits []float32, id, last int32) bool {
	return logits[id] == logits[id] && !before(logits, last, id)
}

// lastOfTopK returns the k-th token of the ranking, or its end if k is 0 or
// there are not that many. It keeps the k best so far in a heap, worst on top.
func (r ranking) lastOfTopK(k int) int32 {
	n := len(r.logits)
	if k == 0 || k > n {
		k = n
	}
	worse := func(a, b int32) bool { return before(r.logits, b, a) }
	if k == n {
		last := int32(0)
		for id := range int32(n) {
			if worse(id, last) {
				last = id
			}
		}
		return last
	}
	kept := r.heap[:k]
	for i := range kept {
		kept[i] = int32(i)
	}
	heapify(kept, worse)
	for id := int32(k); id < int32(n); id++ {
		if before(r.logits, id, kept[0]) {
			kept[0] = id
			sift(kept, 0, worse)
		}
	}
	return kept[0]
}

// lastOfTopP returns the token at which the ranking's summed weights, up to
// last, reach the target, which is at most their total.
func (r ranking) lastOfTopP(target uint64, last int32, weights []uint32) int32 {
	better := func(a, b int32) bool { return before(r.logits, a, b) }
	kept := r.heap[:0]
	for id := range int32(len(r.logits)) {
		if keeps(r.logits, id, last) {
			kept = append(kept, id)
		}
	}
	heapify(kept, better)
	for sum := uint64(0); ; {
		next := kept[0]
		if sum += uint64(weights[next]); sum >= target {
			return next
		}
		kept[0] = kept[len(kept)-1]
		kept = kept[:len(kept)-1]
		sift(kept, 0, better)
	}
}

// heapify orders ids so that each precedes its two children.
func heapify(ids []int32, precedes func(a, b int32) bool) {
	for i := len(ids)/2 - 1; i >= 0; i-- {
		sift(ids, i, precedes)
	}
}

// sift moves the entry at i down to where it belongs.
func sift(ids []int32, i int, precedes func(a, b int32) bool) {
	for {
		child := 2*i + 1
		if child >= len(ids) {
			return
		}
		if child+1 < len(ids) && precedes(ids[child+1], ids[child]) {
			child++
		}
		if !precedes(ids[child], ids[i]) {
			return
		}
		ids[i], ids[child] = ids[child], ids[i]
		i = child
	}
}

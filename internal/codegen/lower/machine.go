package lower

// cacheLine is the size of a hint's fetch in words: 64 bytes, on some machines twice that.
const cacheLine = 16

// fragment is the rows and columns of a fragment.
const fragment = 8

// avx2 is the lanes of the processors that have half as many registers as others.
const avx2 = 8

// registersOfSums is how many vector registers a block's sums may take: beside
// them go a row of weights and an input.
func (in *Input) registersOfSums() int {
	if in.Target.Vector == avx2 {
		return 8 // of 16
	}
	return 16 // of 32
}

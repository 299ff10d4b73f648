package sampling

import "math/bits"

// Multipliers and key increments of Philox4x32 (Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC11).
const (
	philoxM0, philoxM1 = 0xD2511F53, 0xCD9E8D57
	philoxW0, philoxW1 = 0x9E3779B9, 0xBB67AE85
	philoxRounds       = 10
)

// philox4x32 is Philox4x32-10: four random words from a counter and a key,
// without any state.
func philox4x32(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range philoxRounds {
		hi0, lo0 := bits.Mul32(philoxM0, counter[0])
		hi1, lo1 := bits.Mul32(philoxM1, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += philoxW0
		key[1] += philoxW1
	}
	return counter
}

// random is the random number in [0, 1) of one token, times 2^32. The layout is
// fixed: key = seed, counter = position then stream, each low word first; it is
// output word 0.
func random(seed, stream, position uint64) uint32 {
	return philox4x32(
		[4]uint32{uint32(position), uint32(position >> 32), uint32(stream), uint32(stream >> 32)},
		[2]uint32{uint32(seed), uint32(seed >> 32)})[0]
}

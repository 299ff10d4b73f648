package lower

import "smelt.example/smelt/internal/codegen/kernel"

// linearDecodeThreads are eight SIMD groups, where the target has as many: enough
// to hide the latency of the weights' loads, few enough that small products make
// many threadgroups.
const linearDecodeThreads = 256

// inputsAtOnce is how many of a step's rows a threadgroup of a decode kernel
// works on, each of which takes so many bytes of threadgroup memory if inputs are
// staged: up to matvecInputs, and three quarters of the memory.
func (in *Input) inputsAtOnce(bytes int) int {
	n := matvecInputs
	for in.Target.Vector > 0 && n > 1 && n*bytes > in.Target.SharedMemory/4*3 {
		n /= 2
	}
	return n
}

// matvecSchedule is the size of decode kernels' threadgroups, and how many
// outputs they make one batch after the other.
func (in *Input) matvecSchedule() (s kernel.Schedule, outputs int) {
	if in.Target.Vector > 0 {
		// Staging an input costs about as much as three outputs.
		return kernel.Schedule{Threads: in.Target.Vector, SimdWidth: in.Target.Vector}, 64
	}
	threads := in.Target.Threads(linearDecodeThreads)
	return kernel.Schedule{Threads: threads, SimdWidth: in.Target.SimdWidth}, threads / in.Target.SimdWidth * matvecRows
}

// bytesOfStaged bounds what a row of input takes, whatever the encoding: its
// elements, and a sum for each four of them.
func bytesOfStaged(cols int) int { return 5 * cols }

// sharedDecodeThreads is the threadgroup of decode kernels whose SIMD groups share
// experts, columns and K of hyper-connections, where the target allows it: two fill a core.
const sharedDecodeThreads = 512

// tileOf is how many of n outputs, a power of two of `least` to `most`, a threadgroup of
// that size makes: nearly two of them for each core, for they take all of a step's rows.
func (in *Input) tileOf(n, least, most int) int {
	tile := most
	for tile > least && 8*(n/tile) < 15*in.Target.Cores {
		tile /= 2
	}
	return tile
}

// sharesOf is over how many SIMD groups, a power of two up to `most`, the columns of a
// product are dealt out: each lane has some of them.
func (m *matrix) sharesOf(most, lanes int) int {
	shares, asks := 1, m.cols/(m.runColumns()*m.runsAtOnce())
	for 2*shares <= most && asks >= 2*shares*lanes {
		shares *= 2
	}
	return shares
}

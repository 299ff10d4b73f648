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

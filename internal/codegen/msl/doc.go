// Package msl prints kernels (package kernel) as Metal Shading Language, one
// self-contained file each, for language version 3.1. It decides nothing: what
// it has no words for is an error.
//
// # Interface of a printed kernel
//
// Buffer 0 is the argument block, struct Args, laid out as kernel.Args says.
// Its pointers are 64-bit device addresses (MTLBuffer.gpuAddress plus an
// offset) that the host writes into the block: Metal 3 argument buffers of
// tier 2, so the memory behind them must be made resident by the host.
// Buffer 1 is the step block, struct Step: its fields up to the last one the
// kernel reads. A kernel that reads no argument or no step field takes no such
// buffer. Both are in the constant address space: the host writes them before the launch,
// nothing writes them during it, and all threads read the same fields; arrays of the step
// block are indexed by row, which that space allows. A struct Step of more than 64 KB is
// in the device address space: Apple's tables of feature sets give GPUs of Macs that are
// not Apple's that much for a buffer in the constant one, and what makes it so large,
// tables of rotations of many rows and what sampling has for each token, is indexed by
// thread, for which the Metal Shading Language Specification has the device space.
// Threadgroup memory is declared in the kernel.
//
// # Numbers
//
// The text pins what its numbers rely on, because defaults go the other way
// (Metal Shading Language Specification 4, sections 1.6.3, 6.5 and 8.4):
//
//   - Math mode safe: no reassociation (the order of additions is part of the
//     result), infinities and NaN mean something, x/y is correctly rounded.
//     Set by a pragma; compilers before Xcode 16 need the option.
//   - Contraction off: safe mode alone allows x*y+z to be fused within a
//     statement. Kernels fuse by name (fma). Two pragmas ask for it: Metal's own, which
//     goes with that of the math mode, and the C standard's, which compilers that skip
//     Metal's as unknown have too.
//   - exp, log, sqrt and rsqrt of float are written precise::, since the
//     variant behind the plain name follows a second option
//     (mathFloatingPointFunctions) that is fast by default: fast sqrt is
//     x*rsqrt(x), precise sqrt is correctly rounded. fma, fmin, fmax, fabs,
//     rint and floor are exact in both variants, so they stay plain.
//
// Subnormal numbers may be flushed to zero whatever the options.
package msl

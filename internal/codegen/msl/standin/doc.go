// Package standin proves Metal kernels without a Mac. It holds a stand-in for
// <metal_stdlib>, with which clang checks and executes the very text that
// package msl prints: kernels run on the CPU, threadgroup by threadgroup, every
// thread a fiber.
//
// The text is compiled in two ways. [Compiler.Check] gives device, constant and
// threadgroup memory real address spaces, so that mixing them is an error.
// [Compiler.Build] leaves them away and makes a program that runs the kernels,
// if wanted with clang's sanitizers for addresses and undefined behaviour, which
// do not look at other address spaces. Both change the text in one way, for C++
// has no other word for it: threadgroup arrays become static ("static" is put
// before the declaration, a macro that tells the host of the array behind it).
//
// # What a launch finds
//
//   - A barrier or SIMD-group function that not all threads or lanes reach, or
//     at different places of the text: an error. MSL lets lanes diverge around
//     SIMD-group functions; smelt's kernels never mean to.
//   - A thread that never ends: an error after the launch's time limit.
//   - Reading threadgroup memory that nobody wrote: it is filled with Poison
//     before every threadgroup, so run twice, with different bytes, and compare.
//   - Missing barriers and dependence on orders: Seed chooses the order of
//     threadgroups, SIMD groups and lanes, ascending for 0; an odd seed reverses
//     the order of the even one before and adds in another order. A thread runs
//     until it must wait, so without a barrier it sees either all or nothing of
//     what another wrote since the last. Run with seeds 0 and 1, and compare.
//   - More than 32 KiB of threadgroup memory, a SIMD shuffle from a lane that
//     does not exist: errors.
//   - With sanitizers: accesses out of a block's or array's bounds, misaligned
//     ones, signed overflow, shifts by too much. Their report is in the error.
//
// # What differs from a GPU
//
// Metal says neither in which order simd_sum and the like add, nor
// simdgroup_multiply_accumulate. Here even seeds add by lane (matrices: c first,
// then by k), odd ones in a tree of lanes 16, 8, 4, 2 and 1 apart (matrices: the
// products first, then c). Results may depend on that within rounding only.
// Threads change places only where they wait, so atomics are plain accesses and
// races within such a stretch are not seen. exp, log and the like are the C
// library's, precise:: and fast:: are the same, subnormal numbers are kept, and
// half and bfloat arithmetic rounds after every operation.
package standin

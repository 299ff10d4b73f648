// The scheduler runs a kernel's launch: threadgroup by threadgroup, every
// thread a fiber. A thread runs until it must wait for others, ends or fails.
#pragma once

#include "standin/machine.h"

namespace standin {

constexpr u32 max_threads = 1024;

// Launch is what runs.
struct Launch {
    const Kernel *kernel;
    Position groups;   // in the grid
    u32 threads;       // per threadgroup
    const void *args;  // the argument block
    const void *step;  // the step block
    unsigned char poison;      // what threadgroup memory holds at a threadgroup's start
    unsigned long long seed;   // of the orders in which things happen
};

// run returns what went wrong, or null. The text is valid until the next run.
const char *run(const Launch &);

// kernels is the head of the program's table.
const Kernel *kernels();

// describe writes which thread of which kernel is running; the empty text if
// none is. It allocates nothing, so signal handlers may call it. It returns the
// length, below bytes.
int describe(char *text, unsigned long bytes);

} // namespace standin

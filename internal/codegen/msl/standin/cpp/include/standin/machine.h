// What kernels and the host share: who is running, where lanes meet, and how a
// kernel is registered and called.
#pragma once

namespace standin {

typedef unsigned int u32;

constexpr u32 max_lanes = 32;

// Site is a call in the kernel's text at which threads wait for each other.
struct Site {
    const char *what; // the function's name
    int line, column; // of the call
};

struct Position {
    u32 x, y, z;
};

// Thread is what a kernel can ask about the thread that runs it.
struct Thread {
    Position group;  // of the threadgroup in the grid
    Position groups; // in the grid
    u32 index;       // in the threadgroup
    u32 threads;     // in the threadgroup
};

// Meeting is one operation of a SIMD group: every lane leaves its operand, and
// the last to arrive leaves the result.
struct Meeting {
    Site site;     // of the first to arrive
    u32 first;     // lane
    u32 arrived;   // how many
    bool computed; // whether result is there
    alignas(64) unsigned char operands[1024];
    alignas(64) unsigned char result[512];
};

// Group is a SIMD group. Its lanes are never more than one meeting apart, so two
// meetings take turns: while some lanes still read one, others may fill the next.
struct Group {
    Meeting meetings[2];
    u32 turn;    // meetings completed
    u32 lanes;   // threads in it
    u32 ready;   // bit per lane that can run
    u32 waiting; // bit per lane in the current meeting
};

// Lane is a running thread.
struct Lane {
    Group *group;
    u32 lane; // in the group
    Thread thread;
};

extern Lane *current;
extern bool ascending;                   // order of sums: by lane, or a tree
extern unsigned long threadgroup_number; // counts threadgroups; never 0

// meet waits until every lane of the SIMD group has arrived at the same site.
void meet(Site site);

// meet_all waits until every thread of the threadgroup has arrived at the same site.
void meet_all(Site site);

// fail ends the launch with an error: what, and the site if there is one.
[[noreturn]] void fail(Site site, const char *what, u32 number);

void fill_shared(void *memory, unsigned long size);

// Kernel is an entry of the program's table.
struct Kernel {
    const char *name;
    void (*run)(const void *args, const void *step, const Thread &);
    unsigned long args_size, step_size; // 0: takes no such buffer
    u32 max_threads;
    const Kernel *next;
};

// enlist adds a kernel to the table, before main runs.
void enlist(Kernel *);

// give converts a position to the type that a kernel's parameter has.
template <class T> inline T give(Position p) {
    if constexpr (sizeof(T) <= sizeof(u32)) { // uint or ushort
        return T(p.x);
    } else if constexpr (sizeof(T) == 2 * sizeof(u32)) {
        return T{p.x, p.y};
    } else {
        return T{p.x, p.y, p.z};
    }
}

} // namespace standin

#include "scheduler.h"

#include "fiber.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

namespace standin {

Lane *current;
bool ascending = true;
unsigned long threadgroup_number;

// The limit of the machine that kernels are made for; Apple's if nobody says.
#ifndef STANDIN_SHARED_BYTES
#define STANDIN_SHARED_BYTES 32768
#endif
constexpr unsigned long max_shared_bytes = STANDIN_SHARED_BYTES;

enum class State { ready, meeting, barrier, ended };

// Fiber is a lane with what only the scheduler knows.
struct Fiber : Lane {
    Context context;
    State state;
    Site site; // where it waits, or last waited
};

// The one launch that runs, and the pool of fibers. A program has one scheduler.
namespace {

struct Scheduler {
    Launch launch;
    Context main;
    Fiber fibers[max_threads];
    Group groups[max_threads / max_lanes];
    u32 group_count;
    u32 group_ready; // bit per SIMD group that has a lane that can run
    u32 ended, at_barrier;
    Site barrier;   // site of the first to arrive
    u32 first;      // thread that arrived first
    u32 start;      // where a round begins, from its first end
    bool downward;  // a round goes down, from the last
    bool made;      // the fibers have stacks
    unsigned long shared_bytes;
    char failure[1024];
};

Scheduler s;
Kernel *table;

// spread_out gives neighbouring seeds unlike numbers, 0 stays 0.
unsigned long long spread_out(unsigned long long seed) {
    seed *= 0x9e3779b97f4a7c15ull;
    return seed ^ seed >> 32;
}

// all is the lowest n bits.
u32 all(u32 n) { return n >= 32 ? ~0u : (1u << n) - 1; }

// next is the first set bit in the round from i on; bits must not be 0.
u32 next(u32 bits, u32 i) {
    if (s.downward) {
        u32 below = bits & all(i + 1);
        return 31 - u32(__builtin_clz(below != 0 ? below : bits));
    }
    u32 above = bits & ~all(i);
    return u32(__builtin_ctz(above != 0 ? above : bits));
}

// begin is where a round of n begins.
u32 begin(u32 n) { return s.downward ? n - 1 - s.start % n : s.start % n; }

u32 group_of(const Fiber *f) { return f->thread.index / max_lanes; }
Fiber *fiber_of(u32 group, u32 lane) { return &s.fibers[group * max_lanes + lane]; }
Fiber *running() { return static_cast<Fiber *>(current); }

int print_place(char *text, unsigned long bytes, const Fiber *f) {
    return snprintf(text, bytes, "kernel %s, threadgroup (%u,%u,%u), thread %u", s.launch.kernel->name,
                    f->thread.group.x, f->thread.group.y, f->thread.group.z, f->thread.index);
}

// stop ends the launch with an error that is about a thread. The fibers stay
// where they are; the next launch starts them anew.
[[noreturn]] __attribute__((format(printf, 2, 3))) void stop(const Fiber *about, const char *format, ...) {
    int n = print_place(s.failure, sizeof s.failure, about);
    n += snprintf(s.failure + n, sizeof s.failure - (unsigned long)n, ": ");
    va_list values;
    va_start(values, format);
    vsnprintf(s.failure + n, sizeof s.failure - (unsigned long)n, format, values);
    va_end(values);
    Fiber *self = running();
    current = nullptr;
    change(&self->context, &s.main);
    __builtin_unreachable();
}

// Excuse is why a thread does not come.
struct Excuse {
    char text[160];
    explicit Excuse(const Fiber *f) {
        if (f->state == State::ended) {
            snprintf(text, sizeof text, "has ended");
        } else {
            snprintf(text, sizeof text, "waits in %s at %d:%d", f->site.what, f->site.line, f->site.column);
        }
    }
};

// report_meeting: nobody can run, and some lanes of a SIMD group wait for others.
[[noreturn]] void report_meeting(u32 group) {
    Group &g = s.groups[group];
    const Site &site = g.meetings[g.turn & 1].site;
    u32 missing = u32(__builtin_ctz(all(g.lanes) & ~g.waiting));
    const Fiber *f = fiber_of(group, missing);
    stop(f, "%s at %d:%d waits for it forever: %d of the SIMD group's %u lanes are there, but this one %s", site.what,
         site.line, site.column, __builtin_popcount(g.waiting), g.lanes, Excuse(f).text);
}

// report_barrier: nobody can run, and some threads wait at a barrier.
[[noreturn]] void report_barrier() {
    for (u32 i = 0; i < s.launch.threads; i++) {
        const Fiber *f = &s.fibers[i];
        if (f->state != State::barrier) {
            stop(f, "%s at %d:%d waits for it forever: %u of the threadgroup's %u threads are there, but this one %s",
                 s.barrier.what, s.barrier.line, s.barrier.column, s.at_barrier, s.launch.threads, Excuse(f).text);
        }
    }
    __builtin_unreachable();
}

// pass_on hands over to the next that can run; its group's ready bits say that
// the running fiber cannot. It returns when it can again.
void pass_on(Fiber *self) {
    u32 group = group_of(self);
    Group &g = s.groups[group];
    Fiber *to;
    if (g.ready != 0) {
        to = fiber_of(group, next(g.ready, self->lane));
    } else {
        s.group_ready &= ~(1u << group);
        if (g.waiting != 0) {
            report_meeting(group);
        }
        if (s.group_ready == 0) {
            if (s.ended < s.launch.threads) {
                report_barrier();
            }
            current = nullptr;
            change(&self->context, &s.main);
            return;
        }
        group = next(s.group_ready, group);
        Group &other = s.groups[group];
        to = fiber_of(group, next(other.ready, begin(other.lanes)));
    }
    if (to == self) {
        return;
    }
    current = to;
    change(&self->context, &to->context);
}

bool same_site(const Site &a, const Site &b) {
    return a.line == b.line && a.column == b.column && (a.what == b.what || strcmp(a.what, b.what) == 0);
}

// thread_main is what a fiber runs.
void thread_main() {
    started(&s.main);
    Fiber *self = running();
    s.launch.kernel->run(s.launch.args, s.launch.step, self->thread);
    self->state = State::ended;
    s.ended++;
    self->group->ready &= ~(1u << self->lane);
    pass_on(self);
    __builtin_unreachable();
}

unsigned long long common_divisor(unsigned long long a, unsigned long long b) {
    while (b != 0) {
        unsigned long long rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Order visits the numbers below n in an order that a seed chooses: ascending
// if that is 0, and for odd seeds the reverse of the seed before. i*factor+offset
// visits all if n and factor have no common divisor.
struct Order {
    unsigned long long n, factor, offset;
    bool reverse;

    Order(unsigned long long count, unsigned long long seed) : n(count), factor(1), offset(0), reverse(seed & 1) {
        if (seed < 2) {
            return;
        }
        offset = seed / 2 % n;
        factor = spread_out(seed / 2) % n;
        while (common_divisor(n, factor) != 1) {
            factor = (factor + 1) % n;
        }
    }
    unsigned long long at(unsigned long long i) const {
        i = (unsigned long long)(((unsigned __int128)i * factor + offset) % n);
        return reverse ? n - 1 - i : i;
    }
};

void reset(Position group) {
    threadgroup_number++;
    u32 threads = s.launch.threads;
    s.group_count = (threads + max_lanes - 1) / max_lanes;
    s.group_ready = all(s.group_count);
    s.ended = s.at_barrier = 0;
    s.shared_bytes = 0;
    for (u32 g = 0; g < s.group_count; g++) {
        Group &simd = s.groups[g];
        simd.lanes = threads - g * max_lanes < max_lanes ? threads - g * max_lanes : max_lanes;
        simd.ready = all(simd.lanes);
        simd.turn = simd.waiting = 0;
        simd.meetings[0].arrived = simd.meetings[1].arrived = 0;
    }
    for (u32 i = 0; i < threads; i++) {
        Fiber &f = s.fibers[i];
        f.group = &s.groups[i / max_lanes];
        f.lane = i % max_lanes;
        f.thread = Thread{group, s.launch.groups, i, threads};
        f.state = State::ready;
        f.site = Site{nullptr, 0, 0};
        // Stacks lie a power of two apart; 37 cache lines keep 64 starts apart.
        prepare(&f.context, thread_main, i * 37 % 64 * 64);
    }
}

void run_threadgroup(Position group) {
    reset(group);
    u32 simd = begin(s.group_count);
    Fiber *first = fiber_of(simd, begin(s.groups[simd].lanes));
    current = first;
    change(&s.main, &first->context);
}

} // namespace

void meet(Site site) {
    Fiber *self = running();
    Group &g = *self->group;
    Meeting &m = g.meetings[g.turn & 1];
    self->site = site;
    if (m.arrived == 0) {
        m.site = site;
        m.first = self->lane;
    } else if (!same_site(m.site, site)) {
        stop(self, "is in %s at %d:%d while lane %u of its SIMD group is in %s at %d:%d", site.what, site.line,
             site.column, m.first, m.site.what, m.site.line, m.site.column);
    }
    if (++m.arrived == g.lanes) {
        m.computed = false;
        g.turn++;
        g.meetings[g.turn & 1].arrived = 0;
        g.waiting = 0;
        g.ready = all(g.lanes);
        return;
    }
    u32 bit = 1u << self->lane;
    self->state = State::meeting;
    g.waiting |= bit;
    g.ready &= ~bit;
    pass_on(self);
    self->state = State::ready;
}

void meet_all(Site site) {
    Fiber *self = running();
    self->site = site;
    if (s.at_barrier == 0) {
        s.barrier = site;
        s.first = self->thread.index;
    } else if (!same_site(s.barrier, site)) {
        stop(self, "is in %s at %d:%d while thread %u is in %s at %d:%d", site.what, site.line, site.column, s.first,
             s.barrier.what, s.barrier.line, s.barrier.column);
    }
    if (++s.at_barrier == s.launch.threads) {
        s.at_barrier = 0;
        s.group_ready = all(s.group_count);
        for (u32 g = 0; g < s.group_count; g++) {
            s.groups[g].ready = all(s.groups[g].lanes);
        }
        return;
    }
    self->state = State::barrier;
    self->group->ready &= ~(1u << self->lane);
    pass_on(self);
    self->state = State::ready;
}

void fail(Site site, const char *what, u32 number) {
    stop(running(), "%s at %d:%d %s %u", site.what, site.line, site.column, what, number);
}

void fill_shared(void *memory, unsigned long size) {
    s.shared_bytes += (size + 15) / 16 * 16;
    if (s.shared_bytes > max_shared_bytes) {
        stop(running(), "needs %lu bytes of threadgroup memory so far, and there are %lu", s.shared_bytes, max_shared_bytes);
    }
    memset(memory, s.launch.poison, size);
}

void enlist(Kernel *k) {
    k->next = table;
    table = k;
}

const Kernel *kernels() { return table; }

const char *run(const Launch &launch) {
    s.launch = launch;
    s.failure[0] = 0;
    if (!s.made) {
        Context contexts[max_threads];
        if (!stacks(contexts, max_threads)) {
            return "no memory for the threads' stacks";
        }
        for (u32 i = 0; i < max_threads; i++) {
            s.fibers[i].context = contexts[i];
        }
        s.made = true;
    }
    ascending = (launch.seed & 1) == 0;
    s.downward = (launch.seed & 1) != 0;
    s.start = u32(spread_out(launch.seed / 2));
    unsigned long long x = launch.groups.x, y = launch.groups.y, n = x * y * launch.groups.z;
    Order order(n, launch.seed);
    for (unsigned long long i = 0; i < n; i++) {
        unsigned long long at = order.at(i);
        run_threadgroup(Position{u32(at % x), u32(at / x % y), u32(at / (x * y))});
        if (s.failure[0] != 0) {
            for (u32 t = 0; t < launch.threads; t++) {
                forget(&s.fibers[t].context);
            }
            return s.failure;
        }
    }
    return nullptr;
}

int describe(char *text, unsigned long bytes) {
    const Fiber *f = running();
    text[0] = 0;
    if (f == nullptr) {
        return 0;
    }
    int n = print_place(text, bytes, f);
    if (f->site.what != nullptr) {
        n += snprintf(text + n, bytes - (unsigned long)n, " (last in %s at %d:%d)", f->site.what, f->site.line, f->site.column);
    }
    return n;
}

} // namespace standin

// Fibers: threads of control on stacks of their own that hand over to each
// other by name.
#pragma once

namespace standin {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STANDIN_ASAN 1
#endif
#endif

// Context is where a fiber stopped, and its stack.
struct Context {
    void *stopped;       // its stack pointer, or what the machine needs instead
    const void *stack;   // lowest address
    unsigned long bytes; // of the stack
};

// stacks reserves n stacks, each above a page that must not be touched, and
// sets where they lie. It returns false if there is no memory.
bool stacks(Context *contexts, unsigned n);

// prepare makes a context start with entry, which never returns, on its stack.
// spread shifts the stack's start, so that stacks do not meet in the cache.
void prepare(Context *, void (*entry)(), unsigned spread);

// change stops the running fiber and goes on with another.
void change(Context *from, Context *to);

// started is what entry calls first; main is the context that is no fiber.
void started(Context *main);

// forget clears what a fiber that will not go on has left on its stack.
void forget(const Context *);

} // namespace standin

#include "fiber.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef STANDIN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define STANDIN_ASSEMBLY 1
#else
#include <ucontext.h>
#endif

namespace standin {

#ifdef STANDIN_ASSEMBLY

// standin_switch saves what a called function must preserve on the stack, and
// returns on the other stack to where that one stopped.
extern "C" void standin_switch(void **stopped, void *other) __asm__("standin_switch");

#if defined(__x86_64__)
constexpr unsigned entry_word = 6; // the return address, above the registers
constexpr unsigned frame_words = 8; // the stack is 8 bytes off alignment at a function's start
__asm__(".text\n"
        ".globl standin_switch\n"
        "standin_switch:\n"
        "  pushq %rbp\n"
        "  pushq %rbx\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbx\n"
        "  popq %rbp\n"
        "  ret\n");
#else
constexpr unsigned entry_word = 11; // x30
constexpr unsigned frame_words = 20;
__asm__(".text\n"
        ".p2align 2\n"
        ".globl standin_switch\n"
        "standin_switch:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp, #0]\n"
        "  stp x21, x22, [sp, #16]\n"
        "  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n"
        "  stp x27, x28, [sp, #64]\n"
        "  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n"
        "  stp d10, d11, [sp, #112]\n"
        "  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n"
        "  str x9, [x0]\n"
        "  mov sp, x1\n"
        "  ldp x19, x20, [sp, #0]\n"
        "  ldp x21, x22, [sp, #16]\n"
        "  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n"
        "  ldp x27, x28, [sp, #64]\n"
        "  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n"
        "  ldp d10, d11, [sp, #112]\n"
        "  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  ret\n");
#endif

void prepare(Context *c, void (*entry)(), unsigned spread) {
    uintptr_t top = uintptr_t(c->stack) + c->bytes - spread;
    void **frame = reinterpret_cast<void **>(top / 16 * 16) - frame_words;
    memset(frame, 0, frame_words * sizeof *frame);
    frame[entry_word] = reinterpret_cast<void *>(entry);
    c->stopped = frame;
}

static void jump(Context *from, Context *to) { standin_switch(&from->stopped, to->stopped); }

#else

static ucontext_t *state(Context *c) {
    if (c->stopped == nullptr) {
        c->stopped = calloc(1, sizeof(ucontext_t));
    }
    return static_cast<ucontext_t *>(c->stopped);
}

void prepare(Context *c, void (*entry)(), unsigned) {
    ucontext_t *u = state(c);
    getcontext(u);
    u->uc_stack.ss_sp = const_cast<void *>(c->stack);
    u->uc_stack.ss_size = c->bytes;
    u->uc_link = nullptr;
    makecontext(u, entry, 0);
}

static void jump(Context *from, Context *to) { swapcontext(state(from), state(to)); }

#endif

// Sanitized frames are several times larger.
#ifdef STANDIN_ASAN
constexpr unsigned long stack_bytes = 256 << 10;
#else
constexpr unsigned long stack_bytes = 64 << 10;
#endif

bool stacks(Context *contexts, unsigned n) {
    unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE);
    unsigned long stride = page + stack_bytes;
    void *memory = mmap(nullptr, n * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        char *guard = static_cast<char *>(memory) + i * stride;
        if (mprotect(guard, page, PROT_NONE) != 0) {
            return false;
        }
        contexts[i] = Context{nullptr, guard + page, stack_bytes};
    }
    return true;
}

void change(Context *from, Context *to) {
#ifdef STANDIN_ASAN
    __sanitizer_start_switch_fiber(nullptr, to->stack, to->bytes);
    jump(from, to);
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#else
    jump(from, to);
#endif
}

void started(Context *main) {
#ifdef STANDIN_ASAN
    const void *stack = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (main->stack == nullptr) { // the first fiber came from there
        main->stack = stack;
        main->bytes = bytes;
    }
#else
    (void)main;
#endif
}

void forget(const Context *c) {
#ifdef STANDIN_ASAN
    __asan_unpoison_memory_region(c->stack, c->bytes);
#else
    (void)c;
#endif
}

} // namespace standin

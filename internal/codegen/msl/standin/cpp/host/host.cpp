// The host answers commands on its standard input: memory and launches. Each
// command and each answer is a header and as many bytes as that says; numbers
// are little-endian. Addresses are those of this process. The one who asks
// checks addresses and sizes; this program trusts it.
#include "fiber.h"
#include "scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#ifdef STANDIN_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace standin {
namespace {

enum Command : uint32_t { list = 1, alloc, map, write_memory, read_memory, free_memory, unmap, launch, quit };

struct Header {
    uint32_t kind; // a Command; in an answer 0, or 1 if the bytes are an error's text
    uint32_t unused;
    uint64_t size;
};

// All of a transfer, or the end of the program: without the other side there is
// nothing to do.
void take(void *to, uint64_t size) {
    char *at = static_cast<char *>(to);
    while (size > 0) {
        ssize_t n = read(STDIN_FILENO, at, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(n == 0 ? 0 : 4);
        }
        at += n;
        size -= uint64_t(n);
    }
}

void put(int file, const void *from, uint64_t size) {
    const char *at = static_cast<const char *>(from);
    while (size > 0) {
        ssize_t n = write(file, at, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(4);
        }
        at += n;
        size -= uint64_t(n);
    }
}

void answer(const void *bytes, uint64_t size) {
    Header h{0, 0, size};
    put(STDOUT_FILENO, &h, sizeof h);
    put(STDOUT_FILENO, bytes, size);
}

void refuse(const char *text) {
    Header h{1, 0, strlen(text)};
    put(STDOUT_FILENO, &h, sizeof h);
    put(STDOUT_FILENO, text, h.size);
}

// tell writes which thread was running to standard error, in a signal handler.
void tell(const char *what) {
    char text[512];
    int n = describe(text, sizeof text);
    put(STDERR_FILENO, "standin: ", 9);
    put(STDERR_FILENO, text, uint64_t(n));
    put(STDERR_FILENO, n > 0 ? ": " : "", n > 0 ? 2 : 0);
    put(STDERR_FILENO, what, strlen(what));
    put(STDERR_FILENO, "\n", 1);
}

void on_signal(int number) {
    switch (number) {
    case SIGPROF:
        tell("still running at the launch's limit of processor time: an endless loop, or it waits for memory to change");
        break;
    case SIGSEGV:
    case SIGBUS:
        tell("invalid memory access");
        break;
    case SIGFPE:
        tell("integer division by zero");
        break;
    default:
        tell("invalid instruction");
    }
    _exit(3);
}

#ifdef STANDIN_ASAN
void on_death() { tell("stopped by the sanitizer's report above"); }
#endif

void handle_signals() {
    static char stack[64 << 10]; // a fiber's may be what ran out
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK;
#ifdef STANDIN_ASAN
    (void)alternative; // it has its own, and reports the rest
    __sanitizer_set_death_callback(on_death);
    sigaction(SIGPROF, &action, nullptr);
#else
    sigaltstack(&alternative, nullptr);
    const int numbers[] = {SIGPROF, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (int number : numbers) {
        sigaction(number, &action, nullptr);
    }
#endif
}

// limit_time sets the processor time after which SIGPROF comes; 0 cancels.
void limit_time(uint64_t milliseconds) {
    itimerval timer = {};
    timer.it_value.tv_sec = time_t(milliseconds / 1000);
    timer.it_value.tv_usec = suseconds_t(milliseconds % 1000 * 1000);
    setitimer(ITIMER_PROF, &timer, nullptr);
}

void do_list() {
    uint64_t size = 0;
    for (const Kernel *k = kernels(); k != nullptr; k = k->next) {
        size += 24 + strlen(k->name);
    }
    char *table = static_cast<char *>(malloc(size + 1)), *at = table;
    for (const Kernel *k = kernels(); k != nullptr; k = k->next) {
        uint64_t sizes[2] = {k->args_size, k->step_size};
        uint32_t name = uint32_t(strlen(k->name)), counts[2] = {k->max_threads, name};
        memcpy(at, sizes, 16);
        memcpy(at + 16, counts, 8);
        memcpy(at + 24, k->name, name);
        at += 24 + name;
    }
    answer(table, size);
    free(table);
}

// A block is aligned as a GPU's buffers are, and has exactly its size.
void do_alloc() {
    struct {
        uint64_t size, fill;
    } c;
    take(&c, sizeof c);
    void *block = nullptr;
    if (posix_memalign(&block, 256, c.size) != 0) {
        refuse("out of memory");
        return;
    }
    memset(block, int(c.fill), c.size);
    uint64_t address = uintptr_t(block);
    answer(&address, sizeof address);
}

void do_map(uint64_t length) {
    char *path = static_cast<char *>(malloc(length + 1));
    take(path, length);
    path[length] = 0;
    int file = open(path, O_RDONLY);
    free(path);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) {
        refuse(strerror(errno));
        return;
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(file);
        refuse("not a file with content");
        return;
    }
    void *memory = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        refuse(strerror(errno));
        return;
    }
    uint64_t mapping[2] = {uintptr_t(memory), uint64_t(info.st_size)};
    answer(mapping, sizeof mapping);
}

void do_write(uint64_t length) {
    uint64_t address;
    take(&address, sizeof address);
    take(reinterpret_cast<void *>(uintptr_t(address)), length - sizeof address);
    answer(nullptr, 0);
}

void do_read() {
    uint64_t range[2];
    take(range, sizeof range);
    answer(reinterpret_cast<void *>(uintptr_t(range[0])), range[1]);
}

void do_free() {
    uint64_t address;
    take(&address, sizeof address);
    free(reinterpret_cast<void *>(uintptr_t(address)));
    answer(nullptr, 0);
}

void do_unmap() {
    uint64_t range[2];
    take(range, sizeof range);
    munmap(reinterpret_cast<void *>(uintptr_t(range[0])), range[1]);
    answer(nullptr, 0);
}

// Request is what precedes a launch's kernel name and argument block.
struct Request {
    uint32_t groups[3], threads;
    uint64_t step, seed, limit; // limit: processor time in ms
    uint32_t poison, name;      // name: length
};

void do_launch(uint64_t length) {
    Request r;
    take(&r, sizeof r);
    char *name = static_cast<char *>(malloc(r.name + 1ul));
    take(name, r.name);
    name[r.name] = 0;
    uint64_t size = length - sizeof r - r.name;
    void *args = malloc(size); // a block of its own, so that reading past it is noticed
    take(args, size);

    Launch l = {};
    for (l.kernel = kernels(); l.kernel != nullptr && strcmp(l.kernel->name, name) != 0;) {
        l.kernel = l.kernel->next;
    }
    free(name);
    const char *error = "no such kernel";
    if (l.kernel != nullptr) {
        l.groups = Position{r.groups[0], r.groups[1], r.groups[2]};
        l.threads = r.threads;
        l.args = args;
        l.step = reinterpret_cast<const void *>(uintptr_t(r.step));
        l.poison = static_cast<unsigned char>(r.poison);
        l.seed = r.seed;
        limit_time(r.limit);
        error = run(l);
        limit_time(0);
    }
    free(args);
    if (error != nullptr) {
        refuse(error);
    } else {
        answer(nullptr, 0);
    }
}

[[noreturn]] void serve() {
    for (;;) {
        Header h;
        take(&h, sizeof h);
        switch (h.kind) {
        case list:
            do_list();
            break;
        case alloc:
            do_alloc();
            break;
        case map:
            do_map(h.size);
            break;
        case write_memory:
            do_write(h.size);
            break;
        case read_memory:
            do_read();
            break;
        case free_memory:
            do_free();
            break;
        case unmap:
            do_unmap();
            break;
        case launch:
            do_launch(h.size);
            break;
        case quit:
            answer(nullptr, 0);
            _exit(0);
        default:
            tell("unknown command");
            _exit(4);
        }
    }
}

} // namespace
} // namespace standin

int main() {
    standin::handle_signals();
    standin::serve();
}

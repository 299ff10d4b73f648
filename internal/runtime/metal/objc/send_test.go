//go:build (linux || darwin) && !race

package objc

import (
	"runtime"
	"testing"

	"github.com/ebitengine/purego"
)

// labs is C's function of that name, called as objc_msgSend is on a Mac.
func labs(t testing.TB) func([]uintptr) uintptr {
	t.Helper()
	path := "libc.so.6"
	if runtime.GOOS == "darwin" {
		path = "/usr/lib/libSystem.B.dylib"
	}
	lib, err := purego.Dlopen(path, purego.RTLD_LAZY)
	if err != nil {
		t.Skip(err)
	}
	fn, err := purego.Dlsym(lib, "labs")
	if err != nil {
		t.Fatal(err)
	}
	return sender(fn)
}

// TestSendAllocatesNothing is about calls of real C: the fake runtime's are Go's.
func TestSendAllocatesNothing(t *testing.T) {
	send, minus := labs(t), -7
	args := []uintptr{uintptr(minus), 0, 0, 0, 0}
	if r := send(args); r != 7 {
		t.Fatalf("labs(-7) is %d", r)
	}
	if n := testing.AllocsPerRun(1000, func() { send(args) }); n > 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// BenchmarkSend is a call of a C function that does next to nothing.
func BenchmarkSend(b *testing.B) {
	send, args := labs(b), []uintptr{1, 0, 0, 0}
	b.ReportAllocs()
	for b.Loop() {
		send(args)
	}
}

package metal

import (
	"errors"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/metal/fake"
)

var _ device.Keeper = (*Device)(nil)

// TestKeptRoom: memory for parts counts beside all else that is wired, and as one buffer.
func TestKeptRoom(t *testing.T) {
	b, ck := compiledFixture()
	try := func(o fake.Options, kept int64) (all int64, err error) {
		d, err := newGPU(t, o).open(b, ck, Options{Kept: kept})
		if err != nil {
			return 0, err
		}
		_, all = d.Room()
		return all, d.Close()
	}
	need := func() int64 {
		_, err := try(fake.Options{WorkingSet: 1}, 0)
		var full *admission.Error
		if !errors.As(err, &full) {
			t.Fatal(err)
		}
		return full.Need
	}()
	const mib = 1 << 20
	for _, c := range []struct {
		o    fake.Options
		kept int64
		all  int64
		err  string
	}{
		{fake.Options{WorkingSet: need}, 0, 0, ""},
		{fake.Options{WorkingSet: need + 3*mib}, 3 * mib, 3 * mib, ""},
		{fake.Options{WorkingSet: need + 3*mib}, 3*mib + 1, 0, "take CacheRAM 3MiB or less"},
		{fake.Options{WorkingSet: need + 12*mib}, admission.Auto, 3 * mib, ""},
		{fake.Options{WorkingSet: 1 << 40}, admission.Auto, 8 << 30, ""},
		{fake.Options{WorkingSet: 1 << 40, MaxBuffer: 16 * mib}, admission.Auto, 16 * mib, ""},
		{fake.Options{WorkingSet: 1 << 40, MaxBuffer: 16 * mib}, 17 * mib, 0, "take a smaller CacheRAM"},
	} {
		all, err := try(c.o, c.kept)
		if (err == nil) != (c.err == "") || err != nil && !strings.HasSuffix(err.Error(), c.err) || all != c.all {
			t.Errorf("%+v, %d bytes: %d, %v; expected %d, %q", c.o, c.kept, all, err, c.all, c.err)
		}
	}
}

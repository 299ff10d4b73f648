package encoding

import "testing"

// TestWithoutNaN holds for every byte in every lane, beside any neighbours.
func TestWithoutNaN(t *testing.T) {
	for b := range uint64(256) {
		for lane := range 8 {
			for _, around := range []uint64{0, ^uint64(0), 0x7f * bytes1} {
				w := around&^(0xff<<(8*lane)) | b<<(8*lane)
				want := b
				if b&0x7f == 0x7f {
					want--
				}
				if got := withoutNaN(w) >> (8 * lane) & 0xff; got != want {
					t.Fatalf("%#x in %#x became %#x, want %#x", b, w, got, want)
				}
			}
		}
	}
}

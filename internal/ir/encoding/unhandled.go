package encoding

// Unhandled is a code of one byte, in one or more spellings, that kernels take for another value
// than [Decode] does.
type Unhandled struct {
	Name  string
	Bytes []byte
}

// UnhandledIn lists such codes of the bytes of a plane; nil for an encoding without them, and for a
// nil encoding.
func UnhandledIn(e Encoding, r Role) []Unhandled {
	if e == nil {
		return nil
	}
	for _, p := range e.form().planes {
		if p.role == r {
			return p.unhandled
		}
	}
	return nil
}

// E4M3 has NaN as 0x7F and 0xFF (OCP 8-bit floating point), an E8M0 scale NaN as 255 and 2^-127, a
// subnormal float32, as 0 (OCP microscaling formats).
var (
	unhandledE4M3 = []Unhandled{{"NaN of fp8 e4m3", []byte{0x7f, 0xff}}}
	unhandledE8M0 = []Unhandled{{"E8M0 scale 255 (NaN)", []byte{255}}, {"E8M0 scale 0 (2^-127)", []byte{0}}}
)

package planned

import "fmt"

// Visible is memory from Alloc that the host sees where it lies: Read, Write and
// Copy of a machine that embeds it.
type Visible struct{ regions []region }

type region struct {
	at    Address
	bytes []byte
}

// Show adds memory whose first byte has an address.
func (v *Visible) Show(at Address, bytes []byte) { v.regions = append(v.regions, region{at, bytes}) }

// bytes are the n bytes at an address.
func (v *Visible) bytes(at Address, n int64) ([]byte, error) {
	for _, r := range v.regions {
		if first := uint64(at - r.at); first <= uint64(len(r.bytes)) && uint64(n) <= uint64(len(r.bytes))-first {
			return r.bytes[first:][:n], nil
		}
	}
	return nil, fmt.Errorf("%d bytes at %#x lie in no memory of the device", n, uint64(at))
}

// Read is Machine's.
func (v *Visible) Read(to []byte, from Address) error {
	b, err := v.bytes(from, int64(len(to)))
	copy(to, b)
	return err
}

// Write is Machine's.
func (v *Visible) Write(to Address, bytes []byte) error {
	b, err := v.bytes(to, int64(len(bytes)))
	copy(b, bytes)
	return err
}

// Copy is Machine's.
func (v *Visible) Copy(to, from Address, n int64) error {
	target, err := v.bytes(to, n)
	if err != nil {
		return err
	}
	source, err := v.bytes(from, n)
	copy(target, source)
	return err
}

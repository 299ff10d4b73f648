package driver

import "unsafe"

// properties are CUmemAllocationProp: pinned memory of a card.
type properties struct {
	kind     int32 // 1: pinned
	_        int32 // handles for other processes
	location location
	_        uintptr
	_        [8]byte // compression, direct access, usage
}

type location struct{ kind, id int32 } // kind 1: a card

// access is CUmemAccessDesc: reading and writing.
type access struct {
	location location
	flags    int32
}

// Memory is how many bytes the card has free, and in all.
func (a *API) Memory() (free, total int64, err error) {
	var f, t uintptr
	err = a.do("cuMemGetInfo", a.t.MemGetInfo(&f, &t))
	return int64(f), int64(t), err
}

// Alloc gives memory of the card, whose address is a multiple of 256.
func (a *API) Alloc(bytes int64) (at Pointer, err error) {
	err = a.do("cuMemAlloc", a.t.MemAlloc(&at, uintptr(bytes)))
	return at, err
}

// Free gives memory back.
func (a *API) Free(at Pointer) error { return a.do("cuMemFree", a.t.MemFree(at)) }

// Host is memory of the host that the card reads and writes without a copy between.
type Host struct {
	Bytes  []byte
	Device Pointer // where the card sees it
	at     unsafe.Pointer
}

// mapped is CU_MEMHOSTALLOC_DEVICEMAP.
const mapped = 2

// HostAlloc gives such memory.
func (a *API) HostAlloc(bytes int) (*Host, error) {
	h := &Host{}
	if err := a.do("cuMemHostAlloc", a.t.MemHostAlloc(&h.at, uintptr(bytes), mapped)); err != nil {
		return nil, err
	}
	h.Bytes = unsafe.Slice((*byte)(h.at), bytes)
	if err := a.do("cuMemHostGetDevicePointer", a.t.MemHostGetDevicePointer(&h.Device, h.at, 0)); err != nil {
		a.t.MemFreeHost(h.at)
		return nil, err
	}
	return h, nil
}

// HostFree gives it back.
func (a *API) HostFree(h *Host) error { return a.do("cuMemFreeHost", a.t.MemFreeHost(h.at)) }

// Granularity is what sizes and addresses of Reserve and Back are multiples of.
func (a *API) Granularity(c Card) (int64, error) {
	var n uintptr
	p := properties{kind: 1, location: location{1, c.device}}
	err := a.do("cuMemGetAllocationGranularity", a.t.MemGetAllocationGranularity(&n, &p, 0))
	return int64(n), err
}

// Reserve takes addresses, behind which there is no memory yet.
func (a *API) Reserve(bytes int64) (at Pointer, err error) {
	err = a.do("cuMemAddressReserve", a.t.MemAddressReserve(&at, uintptr(bytes), 0, 0, 0))
	return at, err
}

// Unreserve gives addresses back.
func (a *API) Unreserve(at Pointer, bytes int64) error {
	return a.do("cuMemAddressFree", a.t.MemAddressFree(at, uintptr(bytes)))
}

// Back puts memory of the card behind reserved addresses.
func (a *API) Back(c Card, at Pointer, bytes int64) error {
	var handle uint64
	place := location{1, c.device}
	if err := a.do("cuMemCreate", a.t.MemCreate(&handle, uintptr(bytes), &properties{kind: 1, location: place}, 0)); err != nil {
		return err
	}
	err := a.do("cuMemMap", a.t.MemMap(at, uintptr(bytes), 0, handle, 0))
	// The mapping keeps the memory.
	if e := a.do("cuMemRelease", a.t.MemRelease(handle)); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	err = a.do("cuMemSetAccess", a.t.MemSetAccess(at, uintptr(bytes), &access{place, 3}, 1))
	if err != nil {
		a.t.MemUnmap(at, uintptr(bytes))
	}
	return err
}

// Unback takes the memory away.
func (a *API) Unback(at Pointer, bytes int64) error {
	return a.do("cuMemUnmap", a.t.MemUnmap(at, uintptr(bytes)))
}

// Upload copies bytes to the card.
func (a *API) Upload(to Pointer, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return a.do("cuMemcpyHtoD", a.t.MemcpyHtoD(to, unsafe.Pointer(&from[0]), uintptr(len(from))))
}

// Download copies bytes from the card.
func (a *API) Download(to []byte, from Pointer) error {
	if len(to) == 0 {
		return nil
	}
	return a.do("cuMemcpyDtoH", a.t.MemcpyDtoH(unsafe.Pointer(&to[0]), from, uintptr(len(to))))
}

// Copy copies bytes of the card's.
func (a *API) Copy(to, from Pointer, bytes int64) error {
	return a.do("cuMemcpyDtoD", a.t.MemcpyDtoD(to, from, uintptr(bytes)))
}

// Fill sets bytes of the card's.
func (a *API) Fill(at Pointer, value byte, bytes int64) error {
	return a.do("cuMemsetD8", a.t.MemsetD8(at, value, uintptr(bytes)))
}

// Receive copies from the card to host memory in a stream.
func (a *API) Receive(to *Host, from Pointer, bytes int64, s Stream) error {
	return a.do("cuMemcpyDtoHAsync", a.t.MemcpyDtoHAsync(to.at, from, uintptr(bytes), s))
}

// Send copies host memory to the card in a stream; it must stay as it is until the
// stream is there.
func (a *API) Send(to Pointer, from []byte, s Stream) error {
	if len(from) == 0 {
		return nil
	}
	return a.do("cuMemcpyHtoDAsync", a.t.MemcpyHtoDAsync(to, unsafe.Pointer(&from[0]), uintptr(len(from)), s))
}

package fake

import (
	"fmt"
	"slices"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// Buffer is a live MTLBuffer.
type Buffer struct {
	Address uint64 // the GPU's
	Memory  []byte // valid until the buffer is released
	Label   string
	NoCopy  bool
}

// buffer is an MTLBuffer's.
type buffer struct {
	object  *object
	address uint64
	memory  []byte
	noCopy  bool
}

// The GPU's addresses are no address of this process: a mix-up finds no buffer.
// Buffers lie apart, so that what runs over an end finds none either.
const (
	firstAddress = 1 << 40
	addressStep  = 1 << 30
)

// sharedUntracked is the only storage that is known here: the checks of fences are
// those of untracked buffers.
const sharedUntracked = 1 << 8

func bufferClasses() []*class {
	return []*class{
		{name: "MTLAllocation", extends: root},
		{name: "MTLResource", extends: "MTLAllocation", instance: []method{setLabel()}},
		{name: "MTLBuffer", extends: "MTLResource", destroy: freeBuffer, instance: []method{
			{selector: "contents", do: func(_ *Runtime, self *object, _ []uintptr) uintptr {
				return uintptr(unsafe.Pointer(&self.data.(*buffer).memory[0]))
			}},
			{selector: "gpuAddress", do: func(_ *Runtime, self *object, _ []uintptr) uintptr {
				return uintptr(self.data.(*buffer).address)
			}},
		}},
	}
}

// room tells whether the device makes a buffer of a length.
func (r *Runtime) room(length, options uintptr) bool {
	if options != sharedUntracked {
		r.violate("options %#x: expected shared and untracked memory (%#x)", options, sharedUntracked)
	}
	if length == 0 || uint64(length) > uint64(r.options.MaxBuffer) {
		return false
	}
	fails := r.options.NewBufferFails
	if fails == nil {
		return true
	}
	full := false
	_ = r.unlocked(func() error { full = fails(int64(length)); return nil })
	return !full
}

func newBuffer(r *Runtime, _ *object, args []uintptr) uintptr {
	if !r.room(args[0], args[1]) {
		return 0
	}
	memory, err := allocate(int(args[0]), r.options.Pages)
	if err != nil {
		return 0
	}
	return r.addBuffer(&buffer{memory: memory})
}

func newBufferNoCopy(r *Runtime, _ *object, args []uintptr) uintptr {
	at, length, page := args[0], args[1], uintptr(r.options.Pages)
	switch {
	case at == 0 || at%page != 0:
		r.violate("the memory at %#x does not begin at a page of %d bytes", at, page)
		return 0
	case length%page != 0:
		r.violate("%d bytes are no whole pages of %d", length, page)
		return 0
	case uint64(length) > uint64(r.options.MaxBuffer):
		r.violate("%d bytes are more than the largest buffer's %d", length, r.options.MaxBuffer)
		return 0
	case args[3] != 0:
		r.violate("a deallocator is not known here")
		return 0
	case !r.room(length, args[2]):
		return 0
	}
	return r.addBuffer(&buffer{memory: unsafe.Slice((*byte)(objc.Pointer(at)), int(length)), noCopy: true})
}

// addBuffer gives a buffer its address.
func (r *Runtime) addBuffer(b *buffer) uintptr {
	b.object = r.make("MTLBuffer", b)
	b.address = r.address
	end := r.address + uint64(len(b.memory))
	r.address = (end+addressStep-1)/addressStep*addressStep + addressStep
	r.buffers = append(r.buffers, b)
	r.allocated += int64(len(b.memory))
	return r.owned(b.object)
}

func freeBuffer(r *Runtime, o *object) {
	b := o.data.(*buffer)
	i, _ := slices.BinarySearchFunc(r.buffers, b.address, byAddress)
	r.buffers = slices.Delete(r.buffers, i, i+1)
	r.allocated -= int64(len(b.memory))
	if b.noCopy {
		return
	}
	if err := free(b.memory); err != nil {
		r.violate("the memory: %v", err)
	}
}

func byAddress(b *buffer, address uint64) int {
	switch {
	case b.address < address:
		return -1
	case b.address > address:
		return 1
	}
	return 0
}

// bufferAt is the live buffer that has an address; nil if none has.
func (r *Runtime) bufferAt(address uint64) *buffer {
	i, exact := slices.BinarySearchFunc(r.buffers, address, byAddress)
	if !exact {
		i--
	}
	if i < 0 || address-r.buffers[i].address >= uint64(len(r.buffers[i].memory)) {
		return nil
	}
	return r.buffers[i]
}

// Buffers are the live buffers, by address.
func (r *Runtime) Buffers() []Buffer {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Buffer, len(r.buffers))
	for i, b := range r.buffers {
		out[i] = Buffer{b.address, b.memory, b.object.label, b.noCopy}
	}
	return out
}

// Find is the n bytes at an address of the GPU, which must lie in one live buffer.
func (r *Runtime) Find(gpuAddress uint64, n int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bufferAt(gpuAddress)
	if b == nil {
		return nil, fmt.Errorf("no buffer has the GPU's address %#x", gpuAddress)
	}
	at := int(gpuAddress - b.address)
	if n < 0 || n > len(b.memory)-at {
		return nil, fmt.Errorf("%d bytes at byte %d of buffer %q, which has %d", n, at, b.object.label, len(b.memory))
	}
	return b.memory[at:][:n:n], nil
}

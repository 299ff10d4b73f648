package standin

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
)

// Alloc reserves size bytes, all of them fill, aligned to 256. With sanitizers
// every access outside of them is an error.
func (h *Host) Alloc(size int, fill byte) (Addr, error) {
	if size <= 0 {
		return 0, fmt.Errorf("standin: alloc: %d bytes; expected at least 1", size)
	}
	body, err := h.ask(fmt.Sprintf("alloc %d bytes", size), cmdAlloc, words(uint64(size), uint64(fill)), nil, 8)
	if err != nil {
		return 0, err
	}
	return h.add(block{addr: Addr(binary.LittleEndian.Uint64(body)), size: uint64(size)}), nil
}

// Map maps a file for reading and returns its address and size.
func (h *Host) Map(path string) (Addr, int, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return 0, 0, fmt.Errorf("standin: map %s: %w", path, err)
	}
	body, err := h.ask("map "+path, cmdMap, []byte(absolute), nil, 16)
	if err != nil {
		return 0, 0, err
	}
	b := block{addr: Addr(binary.LittleEndian.Uint64(body)), size: binary.LittleEndian.Uint64(body[8:]), mapped: true}
	return h.add(b), int(b.size), nil
}

// Write copies data to an address in a block from [Host.Alloc].
func (h *Host) Write(at Addr, data []byte) error {
	b, err := h.within(at, uint64(len(data)))
	if err != nil {
		return fmt.Errorf("standin: write: %w", err)
	}
	if b.mapped {
		return fmt.Errorf("standin: write: %#x is in a mapped file", at)
	}
	_, err = h.ask("write", cmdWrite, words(uint64(at)), data, 0)
	return err
}

// Read returns size bytes from an address.
func (h *Host) Read(at Addr, size int) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("standin: read: %d bytes", size)
	}
	if _, err := h.within(at, uint64(size)); err != nil {
		return nil, fmt.Errorf("standin: read: %w", err)
	}
	return h.ask("read", cmdRead, words(uint64(at), uint64(size)), nil, size)
}

// Free gives back what Alloc or Map returned.
func (h *Host) Free(at Addr) error {
	b, err := h.within(at, 0)
	if err != nil {
		return fmt.Errorf("standin: free: %w", err)
	}
	if b.addr != at {
		return fmt.Errorf("standin: free: %#x is inside a block, which begins at %#x", at, b.addr)
	}
	if b.mapped {
		_, err = h.ask("unmap", cmdUnmap, words(uint64(at), b.size), nil, 0)
	} else {
		_, err = h.ask("free", cmdFree, words(uint64(at)), nil, 0)
	}
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blocks = slices.DeleteFunc(h.blocks, func(o block) bool { return o.addr == at })
	return nil
}

func (h *Host) add(b block) Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := sort.Search(len(h.blocks), func(i int) bool { return h.blocks[i].addr > b.addr })
	h.blocks = slices.Insert(h.blocks, i, b)
	return b.addr
}

// within finds the block that size bytes at an address lie in.
func (h *Host) within(at Addr, size uint64) (block, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := sort.Search(len(h.blocks), func(i int) bool { return h.blocks[i].addr > at }) - 1
	if i < 0 || uint64(at-h.blocks[i].addr) > h.blocks[i].size || size > h.blocks[i].size-uint64(at-h.blocks[i].addr) {
		return block{}, fmt.Errorf("%d bytes at %#x are not within one block from Alloc or Map", size, at)
	}
	return h.blocks[i], nil
}

func words(values ...uint64) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	return out
}

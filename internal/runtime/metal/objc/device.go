package objc

import "unsafe"

// GPU families that matter (MTLGPUFamily).
const (
	FamilyApple7  = 1007 // M1
	FamilyApple8  = 1008 // M2
	FamilyApple9  = 1009 // M3, M4
	FamilyApple10 = 1010 // M5
	FamilyMetal3  = 5001
)

// Shared is MTLResourceStorageModeShared with MTLResourceHazardTrackingModeUntracked:
// memory of both processors, whose order the plan's barriers and fences keep.
const Shared = 1 << 8

// DefaultDevice is the machine's GPU, the caller's; 0 if there is none.
func (a *API) DefaultDevice() ID { return a.entry.DefaultDevice() }

// SystemVersion is macOS's, as it says it itself.
func (a *API) SystemVersion() string {
	return a.text(ID(a.call(SystemVersion, a.static(ProcessInfo))))
}

// Memory is the machine's, in bytes.
func (a *API) Memory() int64 { return int64(a.call(PhysicalMemory, a.static(ProcessInfo))) }

// DeviceName is Apple's name of the GPU.
func (a *API) DeviceName(d ID) string { return a.text(ID(a.call(DeviceName, d))) }

// DeviceArchitecture names the GPU's generation, as applegpu_g16s.
func (a *API) DeviceArchitecture(d ID) string {
	arch := ID(a.call(DeviceArchitecture, d))
	if arch == 0 {
		return ""
	}
	return a.text(ID(a.call(ArchitectureName, arch)))
}

// Unified tells whether both processors share memory.
func (a *API) Unified(d ID) bool { return a.call(DeviceUnified, d) != 0 }

// SupportsFamily tells whether the GPU is of a family or a later one.
func (a *API) SupportsFamily(d ID, family int) bool {
	return a.call(DeviceFamily, d, uintptr(family)) != 0
}

// MaxBuffer is the size of the largest buffer in bytes.
func (a *API) MaxBuffer(d ID) int64 { return int64(a.call(DeviceMaxBuffer, d)) }

// WorkingSet is how many bytes the GPU should use at most at once.
func (a *API) WorkingSet(d ID) int64 { return int64(a.call(DeviceWorkingSet, d)) }

// Allocated is how many bytes of the device this process has.
func (a *API) Allocated(d ID) int64 { return int64(a.call(DeviceAllocated, d)) }

// ThreadgroupMemory is how many bytes a threadgroup can have.
func (a *API) ThreadgroupMemory(d ID) int { return int(a.call(DeviceThreadgroupMemory, d)) }

// NewBuffer makes memory of length bytes; 0 if there is none.
func (a *API) NewBuffer(d ID, length int64, label string) ID {
	b := ID(a.call(DeviceNewBuffer, d, uintptr(length), Shared))
	a.label(ResourceLabel, b, label)
	return b
}

// NewBufferNoCopy makes a buffer of memory that is there already: at and length
// are multiples of the page size, and the memory outlives the buffer. 0 if the
// system refuses.
func (a *API) NewBufferNoCopy(d ID, at unsafe.Pointer, length int64, label string) ID {
	b := ID(a.call(DeviceNewBufferNoCopy, d, uintptr(at), uintptr(length), Shared, 0))
	a.label(ResourceLabel, b, label)
	return b
}

// Contents is where the processor sees a buffer.
func (a *API) Contents(b ID) unsafe.Pointer { return Pointer(a.call(BufferContents, b)) }

// Address is where the GPU sees a buffer.
func (a *API) Address(b ID) uint64 { return uint64(a.call(BufferAddress, b)) }

// label names an object for tools; nil is allowed.
func (a *API) label(m Method, id ID, label string) {
	if id != 0 {
		a.call(m, id, uintptr(a.string(label)))
	}
}

// NewResidencySet makes a set of buffers that stay in the GPU's memory; 0 without
// an error before macOS 15.
func (a *API) NewResidencySet(d ID, buffers []ID, label string) (ID, error) {
	if !a.responds(d, DeviceNewResidencySet) {
		return 0, nil
	}
	desc := a.static(ResidencyDescriptorNew)
	if desc == 0 {
		return 0, nil
	}
	defer a.Release(desc)
	a.label(ResidencyDescriptorLabel, desc, label)
	a.call(ResidencyDescriptorCapacity, desc, uintptr(len(buffers)))
	set, err := a.failing(DeviceNewResidencySet, d, uintptr(desc))
	if err != nil {
		return 0, err
	}
	for _, b := range buffers {
		a.call(ResidencyAdd, ID(set), uintptr(b))
	}
	a.call(ResidencyCommit, ID(set))
	return ID(set), nil
}

// Reside asks that a set's buffers be in memory now, and in every command buffer
// of the queue.
func (a *API) Reside(queue, set ID) {
	a.call(QueueAddResidency, queue, uintptr(set))
	a.call(ResidencyRequest, set)
}

// Leave undoes Reside.
func (a *API) Leave(queue, set ID) {
	a.call(QueueRemoveResidency, queue, uintptr(set))
	a.call(ResidencyEnd, set)
}

package fake

import (
	"slices"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// threadgroupMemory is that of Apple's GPUs, in bytes.
const threadgroupMemory = 32 << 10

// families are those of an M3.
var families = []int{objc.FamilyApple7, objc.FamilyApple8, objc.FamilyApple9, objc.FamilyMetal3}

func deviceClasses() []*class {
	number := func(of func(*Runtime) int64) func(*Runtime, *object, []uintptr) uintptr {
		return func(r *Runtime, _ *object, _ []uintptr) uintptr { return uintptr(of(r)) }
	}
	name := func(s string) func(*Runtime, *object, []uintptr) uintptr {
		return func(r *Runtime, _ *object, _ []uintptr) uintptr { return r.string(s) }
	}
	return []*class{
		{name: "MTLArchitecture", extends: root, instance: []method{{selector: "name", do: name("applegpu_fake")}}},
		{name: "MTLDevice", extends: root, instance: []method{
			{selector: "name", do: name("Fake M3")},
			{selector: "architecture", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.autoreleased(r.make("MTLArchitecture", nil))
			}},
			{selector: "hasUnifiedMemory", do: number(func(*Runtime) int64 { return 1 })},
			{selector: "supportsFamily:", params: []string{word}, do: func(_ *Runtime, _ *object, args []uintptr) uintptr {
				return yes(slices.Contains(families, int(args[0])))
			}},
			{selector: "maxBufferLength", do: number(func(r *Runtime) int64 { return r.options.MaxBuffer })},
			{selector: "recommendedMaxWorkingSetSize", do: number(func(r *Runtime) int64 { return r.options.WorkingSet })},
			{selector: "currentAllocatedSize", do: number(func(r *Runtime) int64 { return r.allocated })},
			{selector: "maxThreadgroupMemoryLength", do: number(func(*Runtime) int64 { return threadgroupMemory })},
			{selector: "newCommandQueueWithMaxCommandBufferCount:", params: []string{word}, do: newQueue},
			{selector: "newBufferWithLength:options:", params: []string{word, word}, do: newBuffer},
			{selector: "newBufferWithBytesNoCopy:length:options:deallocator:", params: []string{pointer, word, word, pointer}, do: newBufferNoCopy},
			{selector: "newLibraryWithSource:options:error:", params: []string{"NSString", "MTLCompileOptions", failure}, do: newLibrary},
			{selector: "newComputePipelineStateWithDescriptor:options:reflection:error:",
				params: []string{"MTLComputePipelineDescriptor", word, pointer, failure}, do: newPipeline},
			{selector: "newBinaryArchiveWithDescriptor:error:", params: []string{"MTLBinaryArchiveDescriptor", failure}, do: newArchive},
			{selector: "newSharedEvent", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLSharedEvent", &event{}))
			}},
			{selector: "newFence", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLFence", &fence{}))
			}},
			{selector: "newResidencySetWithDescriptor:error:", params: []string{"MTLResidencySetDescriptor", failure}, since: 15, do: newResidencySet},
		}},
	}
}

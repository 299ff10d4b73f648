package objc

// Type is how a value is passed (AAPCS64).
type Type uint8

// The types of arguments and results.
const (
	Void    Type = iota
	Object       // id, also a class's instance; one word
	Word         // NSUInteger, NSInteger, uint64_t, an enum of one of them
	Bool         // BOOL; one byte of a word
	Double       // result only, in a floating-point register
	Address      // a pointer to memory: void *, const char *, id const[]
	Size         // MTLSize: three NSUIntegers, passed by a pointer to a copy
	Failure      // NSError **
	Select       // SEL
)

// Signature is a method as headers declare it.
type Signature struct {
	Owner    string // the class or protocol that declares it
	Selector string
	Static   bool // a class method
	Owned    bool // the result is the caller's (+1)
	Result   Type
	Args     []Type
	// Since is the macOS that brought it, where that is later than 14.
	Since int
}

// Method names a row of the table.
type Method uint8

// The methods that smelt calls.
const (
	Retain Method = iota
	Release
	RespondsToSelector
	StringWithUTF8
	StringUTF8
	ArrayWithObject
	URLWithPath
	ErrorDomain
	ErrorCode
	ErrorDescription
	ProcessInfo
	SystemVersion
	PhysicalMemory

	DeviceName
	DeviceArchitecture
	ArchitectureName
	DeviceUnified
	DeviceFamily
	DeviceMaxBuffer
	DeviceWorkingSet
	DeviceAllocated
	DeviceThreadgroupMemory
	DeviceNewQueue
	DeviceNewBuffer
	DeviceNewBufferNoCopy
	DeviceNewLibrary
	DeviceNewPipeline
	DeviceNewArchive
	DeviceNewEvent
	DeviceNewFence
	DeviceNewResidencySet

	CompileOptionsNew
	CompileOptionsLanguage
	CompileOptionsFastMath
	CompileOptionsMathMode
	CompileOptionsFunctions
	LibraryNewFunction

	PipelineDescriptorNew
	PipelineDescriptorFunction
	PipelineDescriptorLabel
	PipelineDescriptorWidth
	PipelineDescriptorArchives
	PipelineThreads
	PipelineWidth
	PipelineMemory

	ArchiveDescriptorNew
	ArchiveDescriptorURL
	ArchiveAdd
	ArchiveSerialize

	BufferContents
	BufferAddress
	ResourceLabel

	ResidencyDescriptorNew
	ResidencyDescriptorLabel
	ResidencyDescriptorCapacity
	ResidencyAdd
	ResidencyCommit
	ResidencyRequest
	ResidencyEnd
	QueueAddResidency
	QueueRemoveResidency

	QueueLabel
	QueueCommandBuffer
	CommandBufferLabel
	CommandBufferEncoder
	CommandBufferSignal
	CommandBufferCommit
	CommandBufferWait
	CommandBufferStatus
	CommandBufferError
	CommandBufferStart
	CommandBufferEnd

	EncoderLabel
	EncoderPipeline
	EncoderBuffer
	EncoderBufferOffset
	EncoderDispatch
	EncoderBarrier
	EncoderUse
	EncoderWaitFence
	EncoderUpdateFence
	EncoderPushGroup
	EncoderPopGroup
	EncoderEnd

	EventWait

	methodCount
)

// methods is the table, checked in tests against the declarations of Apple's
// headers.
var methods = [methodCount]Signature{
	Retain:             {Owner: "NSObject", Selector: "retain", Result: Object},
	Release:            {Owner: "NSObject", Selector: "release"},
	RespondsToSelector: {Owner: "NSObject", Selector: "respondsToSelector:", Result: Bool, Args: []Type{Select}},
	StringWithUTF8:     {Owner: "NSString", Selector: "stringWithUTF8String:", Static: true, Result: Object, Args: []Type{Address}},
	StringUTF8:         {Owner: "NSString", Selector: "UTF8String", Result: Address},
	ArrayWithObject:    {Owner: "NSArray", Selector: "arrayWithObject:", Static: true, Result: Object, Args: []Type{Object}},
	URLWithPath:        {Owner: "NSURL", Selector: "fileURLWithPath:", Static: true, Result: Object, Args: []Type{Object}},
	ErrorDomain:        {Owner: "NSError", Selector: "domain", Result: Object},
	ErrorCode:          {Owner: "NSError", Selector: "code", Result: Word},
	ErrorDescription:   {Owner: "NSError", Selector: "localizedDescription", Result: Object},
	ProcessInfo:        {Owner: "NSProcessInfo", Selector: "processInfo", Static: true, Result: Object},
	SystemVersion:      {Owner: "NSProcessInfo", Selector: "operatingSystemVersionString", Result: Object},
	PhysicalMemory:     {Owner: "NSProcessInfo", Selector: "physicalMemory", Result: Word},

	DeviceName:              {Owner: "MTLDevice", Selector: "name", Result: Object},
	DeviceArchitecture:      {Owner: "MTLDevice", Selector: "architecture", Result: Object},
	ArchitectureName:        {Owner: "MTLArchitecture", Selector: "name", Result: Object},
	DeviceUnified:           {Owner: "MTLDevice", Selector: "hasUnifiedMemory", Result: Bool},
	DeviceFamily:            {Owner: "MTLDevice", Selector: "supportsFamily:", Result: Bool, Args: []Type{Word}},
	DeviceMaxBuffer:         {Owner: "MTLDevice", Selector: "maxBufferLength", Result: Word},
	DeviceWorkingSet:        {Owner: "MTLDevice", Selector: "recommendedMaxWorkingSetSize", Result: Word},
	DeviceAllocated:         {Owner: "MTLDevice", Selector: "currentAllocatedSize", Result: Word},
	DeviceThreadgroupMemory: {Owner: "MTLDevice", Selector: "maxThreadgroupMemoryLength", Result: Word},
	DeviceNewQueue:          {Owner: "MTLDevice", Selector: "newCommandQueueWithMaxCommandBufferCount:", Owned: true, Result: Object, Args: []Type{Word}},
	DeviceNewBuffer:         {Owner: "MTLDevice", Selector: "newBufferWithLength:options:", Owned: true, Result: Object, Args: []Type{Word, Word}},
	DeviceNewBufferNoCopy:   {Owner: "MTLDevice", Selector: "newBufferWithBytesNoCopy:length:options:deallocator:", Owned: true, Result: Object, Args: []Type{Address, Word, Word, Address}},
	DeviceNewLibrary:        {Owner: "MTLDevice", Selector: "newLibraryWithSource:options:error:", Owned: true, Result: Object, Args: []Type{Object, Object, Failure}},
	DeviceNewPipeline:       {Owner: "MTLDevice", Selector: "newComputePipelineStateWithDescriptor:options:reflection:error:", Owned: true, Result: Object, Args: []Type{Object, Word, Address, Failure}},
	DeviceNewArchive:        {Owner: "MTLDevice", Selector: "newBinaryArchiveWithDescriptor:error:", Owned: true, Result: Object, Args: []Type{Object, Failure}},
	DeviceNewEvent:          {Owner: "MTLDevice", Selector: "newSharedEvent", Owned: true, Result: Object},
	DeviceNewFence:          {Owner: "MTLDevice", Selector: "newFence", Owned: true, Result: Object},
	DeviceNewResidencySet:   {Owner: "MTLDevice", Selector: "newResidencySetWithDescriptor:error:", Owned: true, Result: Object, Args: []Type{Object, Failure}, Since: 15},

	CompileOptionsNew:       {Owner: "MTLCompileOptions", Selector: "new", Static: true, Owned: true, Result: Object},
	CompileOptionsLanguage:  {Owner: "MTLCompileOptions", Selector: "setLanguageVersion:", Args: []Type{Word}},
	CompileOptionsFastMath:  {Owner: "MTLCompileOptions", Selector: "setFastMathEnabled:", Args: []Type{Bool}},
	CompileOptionsMathMode:  {Owner: "MTLCompileOptions", Selector: "setMathMode:", Args: []Type{Word}, Since: 15},
	CompileOptionsFunctions: {Owner: "MTLCompileOptions", Selector: "setMathFloatingPointFunctions:", Args: []Type{Word}, Since: 15},
	LibraryNewFunction:      {Owner: "MTLLibrary", Selector: "newFunctionWithName:", Owned: true, Result: Object, Args: []Type{Object}},

	PipelineDescriptorNew:      {Owner: "MTLComputePipelineDescriptor", Selector: "new", Static: true, Owned: true, Result: Object},
	PipelineDescriptorFunction: {Owner: "MTLComputePipelineDescriptor", Selector: "setComputeFunction:", Args: []Type{Object}},
	PipelineDescriptorLabel:    {Owner: "MTLComputePipelineDescriptor", Selector: "setLabel:", Args: []Type{Object}},
	PipelineDescriptorWidth:    {Owner: "MTLComputePipelineDescriptor", Selector: "setThreadGroupSizeIsMultipleOfThreadExecutionWidth:", Args: []Type{Bool}},
	PipelineDescriptorArchives: {Owner: "MTLComputePipelineDescriptor", Selector: "setBinaryArchives:", Args: []Type{Object}},
	PipelineThreads:            {Owner: "MTLComputePipelineState", Selector: "maxTotalThreadsPerThreadgroup", Result: Word},
	PipelineWidth:              {Owner: "MTLComputePipelineState", Selector: "threadExecutionWidth", Result: Word},
	PipelineMemory:             {Owner: "MTLComputePipelineState", Selector: "staticThreadgroupMemoryLength", Result: Word},

	ArchiveDescriptorNew: {Owner: "MTLBinaryArchiveDescriptor", Selector: "new", Static: true, Owned: true, Result: Object},
	ArchiveDescriptorURL: {Owner: "MTLBinaryArchiveDescriptor", Selector: "setUrl:", Args: []Type{Object}},
	ArchiveAdd:           {Owner: "MTLBinaryArchive", Selector: "addComputePipelineFunctionsWithDescriptor:error:", Result: Bool, Args: []Type{Object, Failure}},
	ArchiveSerialize:     {Owner: "MTLBinaryArchive", Selector: "serializeToURL:error:", Result: Bool, Args: []Type{Object, Failure}},

	BufferContents: {Owner: "MTLBuffer", Selector: "contents", Result: Address},
	BufferAddress:  {Owner: "MTLBuffer", Selector: "gpuAddress", Result: Word},
	ResourceLabel:  {Owner: "MTLResource", Selector: "setLabel:", Args: []Type{Object}},

	ResidencyDescriptorNew:      {Owner: "MTLResidencySetDescriptor", Selector: "new", Static: true, Owned: true, Result: Object, Since: 15},
	ResidencyDescriptorLabel:    {Owner: "MTLResidencySetDescriptor", Selector: "setLabel:", Args: []Type{Object}, Since: 15},
	ResidencyDescriptorCapacity: {Owner: "MTLResidencySetDescriptor", Selector: "setInitialCapacity:", Args: []Type{Word}, Since: 15},
	ResidencyAdd:                {Owner: "MTLResidencySet", Selector: "addAllocation:", Args: []Type{Object}, Since: 15},
	ResidencyCommit:             {Owner: "MTLResidencySet", Selector: "commit", Since: 15},
	ResidencyRequest:            {Owner: "MTLResidencySet", Selector: "requestResidency", Since: 15},
	ResidencyEnd:                {Owner: "MTLResidencySet", Selector: "endResidency", Since: 15},
	QueueAddResidency:           {Owner: "MTLCommandQueue", Selector: "addResidencySet:", Args: []Type{Object}, Since: 15},
	QueueRemoveResidency:        {Owner: "MTLCommandQueue", Selector: "removeResidencySet:", Args: []Type{Object}, Since: 15},

	QueueLabel:           {Owner: "MTLCommandQueue", Selector: "setLabel:", Args: []Type{Object}},
	QueueCommandBuffer:   {Owner: "MTLCommandQueue", Selector: "commandBufferWithUnretainedReferences", Result: Object},
	CommandBufferLabel:   {Owner: "MTLCommandBuffer", Selector: "setLabel:", Args: []Type{Object}},
	CommandBufferEncoder: {Owner: "MTLCommandBuffer", Selector: "computeCommandEncoderWithDispatchType:", Result: Object, Args: []Type{Word}},
	CommandBufferSignal:  {Owner: "MTLCommandBuffer", Selector: "encodeSignalEvent:value:", Args: []Type{Object, Word}},
	CommandBufferCommit:  {Owner: "MTLCommandBuffer", Selector: "commit"},
	CommandBufferWait:    {Owner: "MTLCommandBuffer", Selector: "waitUntilCompleted"},
	CommandBufferStatus:  {Owner: "MTLCommandBuffer", Selector: "status", Result: Word},
	CommandBufferError:   {Owner: "MTLCommandBuffer", Selector: "error", Result: Object},
	CommandBufferStart:   {Owner: "MTLCommandBuffer", Selector: "GPUStartTime", Result: Double},
	CommandBufferEnd:     {Owner: "MTLCommandBuffer", Selector: "GPUEndTime", Result: Double},

	EncoderLabel:        {Owner: "MTLCommandEncoder", Selector: "setLabel:", Args: []Type{Object}},
	EncoderPipeline:     {Owner: "MTLComputeCommandEncoder", Selector: "setComputePipelineState:", Args: []Type{Object}},
	EncoderBuffer:       {Owner: "MTLComputeCommandEncoder", Selector: "setBuffer:offset:atIndex:", Args: []Type{Object, Word, Word}},
	EncoderBufferOffset: {Owner: "MTLComputeCommandEncoder", Selector: "setBufferOffset:atIndex:", Args: []Type{Word, Word}},
	EncoderDispatch:     {Owner: "MTLComputeCommandEncoder", Selector: "dispatchThreadgroups:threadsPerThreadgroup:", Args: []Type{Size, Size}},
	EncoderBarrier:      {Owner: "MTLComputeCommandEncoder", Selector: "memoryBarrierWithScope:", Args: []Type{Word}},
	EncoderUse:          {Owner: "MTLComputeCommandEncoder", Selector: "useResources:count:usage:", Args: []Type{Address, Word, Word}},
	EncoderWaitFence:    {Owner: "MTLComputeCommandEncoder", Selector: "waitForFence:", Args: []Type{Object}},
	EncoderUpdateFence:  {Owner: "MTLComputeCommandEncoder", Selector: "updateFence:", Args: []Type{Object}},
	EncoderPushGroup:    {Owner: "MTLCommandEncoder", Selector: "pushDebugGroup:", Args: []Type{Object}},
	EncoderPopGroup:     {Owner: "MTLCommandEncoder", Selector: "popDebugGroup"},
	EncoderEnd:          {Owner: "MTLCommandEncoder", Selector: "endEncoding"},

	EventWait: {Owner: "MTLSharedEvent", Selector: "waitUntilSignaledValue:timeoutMS:", Result: Bool, Args: []Type{Word, Word}},
}

// Methods lists the table.
func Methods() []Signature { return append([]Signature(nil), methods[:]...) }

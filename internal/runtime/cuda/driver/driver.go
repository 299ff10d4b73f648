// Package driver is NVIDIA's driver interface, libcuda, as far as smelt uses it,
// without cgo. Functions return errors in the driver's words. What belongs to a
// context must be called from a thread for which Enter was called.
package driver

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// The driver's objects. Go only hands them back.
type (
	Context  uintptr
	Module   uintptr
	Function uintptr
	Stream   uintptr
	Event    uintptr
	Graph    uintptr
	Node     uintptr
	Exec     uintptr
	Pointer  uint64 // an address of the card's
)

// table is libcuda as far as it is used: the field Name is cuName, or what the tag
// says. The numbered ones are those of CUDA 12.
type table struct {
	GetErrorName   func(result int32, text **byte) int32
	GetErrorString func(result int32, text **byte) int32

	Init               func(flags uint32) int32
	DriverGetVersion   func(version *int32) int32
	DeviceGetCount     func(n *int32) int32
	DeviceGet          func(device *int32, ordinal int32) int32
	DeviceGetName      func(name *byte, size int32, device int32) int32
	DeviceGetAttribute func(value *int32, attribute, device int32) int32

	DevicePrimaryCtxRetain  func(context *Context, device int32) int32
	DevicePrimaryCtxRelease func(device int32) int32 `c:"cuDevicePrimaryCtxRelease_v2"`
	CtxSetCurrent           func(Context) int32

	MemGetInfo                  func(free, total *uintptr) int32       `c:"cuMemGetInfo_v2"`
	MemAlloc                    func(at *Pointer, bytes uintptr) int32 `c:"cuMemAlloc_v2"`
	MemFree                     func(at Pointer) int32                 `c:"cuMemFree_v2"`
	MemHostAlloc                func(at *unsafe.Pointer, bytes uintptr, flags uint32) int32
	MemFreeHost                 func(at unsafe.Pointer) int32
	MemHostGetDevicePointer     func(at *Pointer, host unsafe.Pointer, flags uint32) int32 `c:"cuMemHostGetDevicePointer_v2"`
	MemAddressReserve           func(at *Pointer, bytes, alignment uintptr, address Pointer, flags uint64) int32
	MemAddressFree              func(at Pointer, bytes uintptr) int32
	MemCreate                   func(handle *uint64, bytes uintptr, properties *properties, flags uint64) int32
	MemRelease                  func(handle uint64) int32
	MemMap                      func(at Pointer, bytes, offset uintptr, handle uint64, flags uint64) int32
	MemUnmap                    func(at Pointer, bytes uintptr) int32
	MemSetAccess                func(at Pointer, bytes uintptr, access *access, n uintptr) int32
	MemGetAllocationGranularity func(bytes *uintptr, properties *properties, option int32) int32

	MemcpyHtoD      func(to Pointer, from unsafe.Pointer, bytes uintptr) int32           `c:"cuMemcpyHtoD_v2"`
	MemcpyDtoH      func(to unsafe.Pointer, from Pointer, bytes uintptr) int32           `c:"cuMemcpyDtoH_v2"`
	MemcpyDtoD      func(to, from Pointer, bytes uintptr) int32                          `c:"cuMemcpyDtoD_v2"`
	MemcpyDtoHAsync func(to unsafe.Pointer, from Pointer, bytes uintptr, s Stream) int32 `c:"cuMemcpyDtoHAsync_v2"`
	MemcpyHtoDAsync func(to Pointer, from unsafe.Pointer, bytes uintptr, s Stream) int32 `c:"cuMemcpyHtoDAsync_v2"`
	MemsetD8        func(at Pointer, value byte, bytes uintptr) int32                    `c:"cuMemsetD8_v2"`

	StreamCreate      func(s *Stream, flags uint32) int32
	StreamSynchronize func(Stream) int32
	StreamDestroy     func(Stream) int32 `c:"cuStreamDestroy_v2"`

	EventCreate      func(e *Event, flags uint32) int32
	EventRecord      func(e Event, s Stream) int32
	EventSynchronize func(e Event) int32
	EventElapsedTime func(milliseconds *float32, from, to Event) int32
	EventDestroy     func(Event) int32 `c:"cuEventDestroy_v2"`

	ModuleLoadData    func(m *Module, image *byte) int32
	ModuleUnload      func(Module) int32
	ModuleGetFunction func(f *Function, m Module, name string) int32
	FuncGetAttribute  func(value *int32, attribute int32, f Function) int32

	LaunchKernel func(f Function, x, y, z, threadsX, threadsY, threadsZ, shared uint32, s Stream, params *unsafe.Pointer, extra uintptr) int32

	GraphCreate                  func(g *Graph, flags uint32) int32
	GraphDestroy                 func(Graph) int32
	GraphAddKernelNode           func(n *Node, g Graph, after *Node, count uintptr, p *kernelNode) int32 `c:"cuGraphAddKernelNode_v2"`
	GraphInstantiate             func(e *Exec, g Graph, flags uint64) int32                              `c:"cuGraphInstantiateWithFlags"`
	GraphExecKernelNodeSetParams func(e Exec, n Node, p *kernelNode) int32                               `c:"cuGraphExecKernelNodeSetParams_v2"`
	GraphNodeSetEnabled          func(e Exec, n Node, on uint32) int32
	GraphLaunch                  func(e Exec, s Stream) int32
	GraphExecDestroy             func(Exec) int32
}

// API is a loaded libcuda.
type API struct {
	t       table
	version int
}

// ErrNotHere says that the machine has no such driver or no card.
var ErrNotHere = errors.New("no NVIDIA driver here")

// places are where libcuda may be: the loader's, WSL's, and that of containers.
var places = []string{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"}

// oldestVersion is CUDA's that the driver must support: 12.0, whose graphs are used.
const oldestVersion = 12000

// Open loads libcuda and begins with it. The error is an ErrNotHere if there is no
// driver, or no card that it can use.
func Open() (*API, error) {
	var reasons []string
	for _, name := range places {
		handle, err := dynlib.Load(name)
		if err != nil {
			if !dynlib.Absent(name, err) {
				reasons = append(reasons, name+" "+err.Error())
			}
			continue
		}
		return open(handle)
	}
	if reasons == nil {
		reasons = []string{"tried " + strings.Join(places, ", ")}
	}
	return nil, fmt.Errorf("%w: %s", ErrNotHere, strings.Join(reasons, "; "))
}

func open(handle uintptr) (*API, error) {
	a := &API{}
	missing, _ := dynlib.Bind(handle, "cu", &a.t)
	if a.t.DriverGetVersion != nil {
		var v int32
		if a.t.DriverGetVersion(&v) == 0 {
			a.version = int(v)
		}
	}
	if len(missing) > 0 || a.version < oldestVersion {
		return nil, fmt.Errorf("the NVIDIA driver supports CUDA %s, expected 12.0 or newer (driver 525): install a newer driver", a.Version())
	}
	if err := a.do("cuInit", a.t.Init(0)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotHere, err)
	}
	return a, nil
}

// Version is the newest CUDA that the driver supports: "13.0".
func (a *API) Version() string { return fmt.Sprintf("%d.%d", a.version/1000, a.version%1000/10) }

// Major is the first number of Version.
func (a *API) Major() int { return a.version / 1000 }

// Error is a call's failure.
type Error struct {
	Call, Name, Text string
	Code             int
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (%s)", e.Call, e.Text, e.Name) }

// outOfMemory is CUDA_ERROR_OUT_OF_MEMORY.
const outOfMemory = 2

// OutOfMemory tells whether an error is that of a card whose memory is full.
func OutOfMemory(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == outOfMemory
}

// firstFault is the first of the codes that the driver gives for what kernels did, and
// after which a context does nothing more.
const firstFault = 700

// Failed tells whether an error is of a card that failed while it ran, not of a call.
func Failed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code >= firstFault && e.Code < 800
}

func (a *API) do(call string, result int32) error {
	if result == 0 {
		return nil
	}
	e := &Error{Call: call, Code: int(result), Name: fmt.Sprint("error ", result), Text: "not known to the driver"}
	var text *byte
	if a.t.GetErrorName(result, &text) == 0 {
		e.Name = dynlib.Text(text)
	}
	if a.t.GetErrorString(result, &text) == 0 {
		e.Text = dynlib.Text(text)
	}
	return e
}

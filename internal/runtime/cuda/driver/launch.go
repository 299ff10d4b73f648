package driver

import (
	"runtime"
	"time"
	"unsafe"
)

// NewStream makes a queue of work. Copies that are in no stream come before what is
// put into it after them.
func (a *API) NewStream() (Stream, error) { return a.newStream(0) }

// NewApartStream makes a queue of work that is in no order with any other.
func (a *API) NewApartStream() (Stream, error) { return a.newStream(1) }

func (a *API) newStream(flags uint32) (s Stream, err error) {
	err = a.do("cuStreamCreate", a.t.StreamCreate(&s, flags))
	return s, err
}

// Wait waits until all that is in a stream is done.
func (a *API) Wait(s Stream) error { return a.do("cuStreamSynchronize", a.t.StreamSynchronize(s)) }

// CloseStream gives a stream back.
func (a *API) CloseStream(s Stream) error { return a.do("cuStreamDestroy", a.t.StreamDestroy(s)) }

// NewEvent makes a mark with a time.
func (a *API) NewEvent() (e Event, err error) {
	err = a.do("cuEventCreate", a.t.EventCreate(&e, 0))
	return e, err
}

// Record puts a mark into a stream.
func (a *API) Record(e Event, s Stream) error { return a.do("cuEventRecord", a.t.EventRecord(e, s)) }

// Await waits for a mark.
func (a *API) Await(e Event) error { return a.do("cuEventSynchronize", a.t.EventSynchronize(e)) }

// Between is the time between two marks that are reached.
func (a *API) Between(from, to Event) (time.Duration, error) {
	var ms float32
	err := a.do("cuEventElapsedTime", a.t.EventElapsedTime(&ms, from, to))
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

// CloseEvent gives a mark back.
func (a *API) CloseEvent(e Event) error { return a.do("cuEventDestroy", a.t.EventDestroy(e)) }

// Load loads machine code.
func (a *API) Load(code []byte) (m Module, err error) {
	err = a.do("cuModuleLoadData", a.t.ModuleLoadData(&m, &code[0]))
	return m, err
}

// Unload gives it back.
func (a *API) Unload(m Module) error { return a.do("cuModuleUnload", a.t.ModuleUnload(m)) }

// Function is a function of loaded code.
func (a *API) Function(m Module, name string) (f Function, err error) {
	err = a.do("cuModuleGetFunction", a.t.ModuleGetFunction(&f, m, name))
	return f, err
}

// Use is what a function takes of a core.
type Use struct {
	Threads   int // of a block, at most
	Shared    int // bytes
	Local     int // bytes a thread that did not find room in registers
	Registers int // a thread
}

// Use tells what a function takes.
func (a *API) Use(f Function) (u Use, err error) {
	for _, x := range []struct {
		attribute int32
		value     *int
	}{{0, &u.Threads}, {1, &u.Shared}, {3, &u.Local}, {4, &u.Registers}} {
		var v int32
		if err := a.do("cuFuncGetAttribute", a.t.FuncGetAttribute(&v, x.attribute, f)); err != nil {
			return u, err
		}
		*x.value = int(v)
	}
	return u, nil
}

// Launch is a kernel with its grid and parameters. Params are addresses of the
// parameters' values, in order; the driver copies the values.
type Launch struct {
	Function Function
	Grid     [3]uint32
	Threads  uint32
	Params   []unsafe.Pointer
}

// Run puts a launch into a stream.
func (a *API) Run(l *Launch, s Stream) error {
	err := a.do("cuLaunchKernel", a.t.LaunchKernel(l.Function, l.Grid[0], l.Grid[1], l.Grid[2], l.Threads, 1, 1, 0, s, &l.Params[0], 0))
	runtime.KeepAlive(l)
	return err
}

// kernelNode is CUDA_KERNEL_NODE_PARAMS_v2.
type kernelNode struct {
	function Function
	grid     [3]uint32
	threads  [3]uint32
	_        uint32 // shared memory beside what the function declares
	params   *unsafe.Pointer
	_        uintptr // other parameters
	_        uintptr // a function of another kind
	_        Context // the thread's
}

func (l *Launch) node() *kernelNode {
	return &kernelNode{function: l.Function, grid: l.Grid, threads: [3]uint32{l.Threads, 1, 1}, params: &l.Params[0]}
}

// NewGraph makes an empty graph.
func (a *API) NewGraph() (g Graph, err error) {
	err = a.do("cuGraphCreate", a.t.GraphCreate(&g, 0))
	return g, err
}

// CloseGraph gives a graph back.
func (a *API) CloseGraph(g Graph) error { return a.do("cuGraphDestroy", a.t.GraphDestroy(g)) }

// Add puts a launch into a graph, after other nodes of it.
func (a *API) Add(g Graph, l *Launch, after []Node) (n Node, err error) {
	var first *Node
	if len(after) > 0 {
		first = &after[0]
	}
	err = a.do("cuGraphAddKernelNode", a.t.GraphAddKernelNode(&n, g, first, uintptr(len(after)), l.node()))
	runtime.KeepAlive(l)
	return n, err
}

// Instantiate makes a graph ready to run.
func (a *API) Instantiate(g Graph) (e Exec, err error) {
	err = a.do("cuGraphInstantiate", a.t.GraphInstantiate(&e, g, 0))
	return e, err
}

// Update gives a node another launch of the same function.
func (a *API) Update(e Exec, n Node, l *Launch) error {
	err := a.do("cuGraphExecKernelNodeSetParams", a.t.GraphExecKernelNodeSetParams(e, n, l.node()))
	runtime.KeepAlive(l)
	return err
}

// Enable says whether a node does its work or nothing.
func (a *API) Enable(e Exec, n Node, on bool) error {
	var flag uint32
	if on {
		flag = 1
	}
	return a.do("cuGraphNodeSetEnabled", a.t.GraphNodeSetEnabled(e, n, flag))
}

// Play puts a whole graph into a stream.
func (a *API) Play(e Exec, s Stream) error { return a.do("cuGraphLaunch", a.t.GraphLaunch(e, s)) }

// CloseExec gives it back.
func (a *API) CloseExec(e Exec) error { return a.do("cuGraphExecDestroy", a.t.GraphExecDestroy(e)) }

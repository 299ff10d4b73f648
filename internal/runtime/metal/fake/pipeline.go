package fake

// pipelineDescriptor is an MTLComputePipelineDescriptor's.
type pipelineDescriptor struct {
	function *function
	whole    bool // threadgroups are whole SIMD groups
	archives *object
}

// pipeline is an MTLComputePipelineState's.
type pipeline struct {
	object  *object
	kernel  string
	source  string
	threads int // of a threadgroup, at most
	whole   bool
}

const (
	simdWidth = 32

	pipelineErrors = "MTLComputePipelineErrorDomain"
	pipelineFailed = 1
)

func pipelineClasses() []*class {
	number := func(of func(*pipeline) int) func(*Runtime, *object, []uintptr) uintptr {
		return func(_ *Runtime, self *object, _ []uintptr) uintptr { return uintptr(of(self.data.(*pipeline))) }
	}
	return []*class{
		{name: "MTLComputePipelineDescriptor", extends: root, static: []method{
			{selector: "new", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				return r.owned(r.make("MTLComputePipelineDescriptor", &pipelineDescriptor{}))
			}},
		}, instance: []method{
			setLabel(),
			{selector: "setComputeFunction:", params: []string{"MTLFunction?"}, do: func(r *Runtime, self *object, args []uintptr) uintptr {
				d, f := self.data.(*pipelineDescriptor), r.object(args[0])
				d.function = nil
				if f != nil {
					d.function = f.data.(*function)
				}
				self.hold(f)
				return 0
			}},
			{selector: "setThreadGroupSizeIsMultipleOfThreadExecutionWidth:", params: []string{word}, do: func(_ *Runtime, self *object, args []uintptr) uintptr {
				self.data.(*pipelineDescriptor).whole = args[0]&0xff != 0
				return 0
			}},
			{selector: "setBinaryArchives:", params: []string{"NSArray?"}, do: func(r *Runtime, self *object, args []uintptr) uintptr {
				d := self.data.(*pipelineDescriptor)
				d.archives = r.object(args[0])
				self.hold(d.archives)
				return 0
			}},
		}},
		{name: "MTLComputePipelineState", extends: root, instance: []method{
			{selector: "maxTotalThreadsPerThreadgroup", do: number(func(p *pipeline) int { return p.threads })},
			{selector: "threadExecutionWidth", do: number(func(*pipeline) int { return simdWidth })},
			{selector: "staticThreadgroupMemoryLength", do: number(func(*pipeline) int { return 0 })},
		}},
	}
}

func newPipeline(r *Runtime, _ *object, args []uintptr) uintptr {
	descriptor := r.object(args[0])
	d := descriptor.data.(*pipelineDescriptor)
	if d.function == nil {
		r.violate("the descriptor has no function")
		return r.fail(args[3], pipelineErrors, pipelineFailed, "the descriptor has no function")
	}
	if !r.archived(d) {
		r.compiled++
	}
	f := d.function
	p := &pipeline{kernel: f.kernel, source: f.source, threads: f.threads, whole: d.whole}
	if n, ok := r.options.MaxThreads[f.kernel]; ok {
		p.threads = min(p.threads, n)
	}
	p.object = r.make("MTLComputePipelineState", p)
	p.object.label = descriptor.label
	return r.owned(p.object)
}

// archived tells whether one of a descriptor's archives has its code.
func (r *Runtime) archived(d *pipelineDescriptor) bool {
	if d.archives == nil {
		return false
	}
	for _, o := range d.archives.holds {
		a, ok := o.data.(*archive)
		if !ok {
			r.violate("%s among the binary archives", r.describe(o.id))
			continue
		}
		if a.entries[d.function.entry()] {
			return true
		}
	}
	return false
}

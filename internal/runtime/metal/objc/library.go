package objc

// language is MTLLanguageVersion3_1; safeMath is MTLMathModeSafe; preciseFunctions
// is MTLMathFloatingPointFunctionsPrecise.
const (
	language         = 3<<16 + 1
	safeMath         = 0
	preciseFunctions = 1
)

// NewLibrary compiles MSL 3.1 without fast math. Before macOS 15 one switch is for
// arithmetic and functions; since then functions have their own, which is fast
// unless set.
func (a *API) NewLibrary(d ID, source string) (ID, error) {
	options := a.static(CompileOptionsNew)
	defer a.Release(options)
	a.call(CompileOptionsLanguage, options, language)
	if a.responds(options, CompileOptionsMathMode) {
		a.call(CompileOptionsMathMode, options, safeMath)
		a.call(CompileOptionsFunctions, options, preciseFunctions)
	} else {
		a.call(CompileOptionsFastMath, options, word(false))
	}
	lib, err := a.failing(DeviceNewLibrary, d, uintptr(a.string(source)), uintptr(options))
	return ID(lib), err
}

// NewFunction is a library's kernel of that name; 0 if it has none.
func (a *API) NewFunction(library ID, name string) ID {
	return ID(a.call(LibraryNewFunction, library, uintptr(a.string(name))))
}

// NewPipelineDescriptor describes a kernel's pipeline. Archive, if not 0, is where
// its code is looked for first.
func (a *API) NewPipelineDescriptor(function ID, label string, archive ID) ID {
	d := a.static(PipelineDescriptorNew)
	a.call(PipelineDescriptorFunction, d, uintptr(function))
	a.label(PipelineDescriptorLabel, d, label)
	a.call(PipelineDescriptorWidth, d, word(true))
	if archive != 0 {
		a.call(PipelineDescriptorArchives, d, uintptr(a.static(ArrayWithObject, uintptr(archive))))
	}
	return d
}

// NewPipeline makes a kernel's machine code.
func (a *API) NewPipeline(d, descriptor ID) (ID, error) {
	p, err := a.failing(DeviceNewPipeline, d, uintptr(descriptor), 0, 0)
	return ID(p), err
}

// PipelineThreads is how many threads a threadgroup of the pipeline can have.
func (a *API) PipelineThreads(p ID) int { return int(a.call(PipelineThreads, p)) }

// PipelineWidth is how many lanes its SIMD groups have.
func (a *API) PipelineWidth(p ID) int { return int(a.call(PipelineWidth, p)) }

// PipelineMemory is how many bytes of threadgroup memory it takes.
func (a *API) PipelineMemory(p ID) int { return int(a.call(PipelineMemory, p)) }

// NewArchive opens the binary archive in a file, or an empty one if path is "".
func (a *API) NewArchive(d ID, path string) (ID, error) {
	desc := a.static(ArchiveDescriptorNew)
	defer a.Release(desc)
	if path != "" {
		a.call(ArchiveDescriptorURL, desc, uintptr(a.url(path)))
	}
	r, err := a.failing(DeviceNewArchive, d, uintptr(desc))
	return ID(r), err
}

// ArchiveAdd puts a pipeline's code into an archive.
func (a *API) ArchiveAdd(archive, descriptor ID) error {
	_, err := a.failing(ArchiveAdd, archive, uintptr(descriptor))
	return err
}

// ArchiveWrite writes an archive to a file.
func (a *API) ArchiveWrite(archive ID, path string) error {
	_, err := a.failing(ArchiveSerialize, archive, uintptr(a.url(path)))
	return err
}

func (a *API) url(path string) ID { return a.static(URLWithPath, uintptr(a.string(path))) }

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	cudatext "smelt.example/smelt/internal/codegen/msl/cuda"
	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/cuda/nvrtc"
	"smelt.example/smelt/internal/runtime/device"
)

// CacheName is the user's folder for machine code of cards.
const CacheName = "cubins"

// code is the kernels' machine code.
type code struct {
	kernels map[string]*compiled
	build   device.Build
}

// compiled is a kernel on the card.
type compiled struct {
	module   driver.Module
	function driver.Function
	entry    cudatext.Entry
	use      driver.Use
}

// compile makes code of the plan's kernels. Kernels of one text are compiled once.
func (m *machine) compile() (*code, error) {
	sources := map[string]string{}
	for _, k := range m.b.Plan.Kernels {
		text, err := m.b.Text(k.Name)
		if err != nil {
			return nil, err
		}
		sources[k.Name] = text
	}
	return m.compileAll(m.b.Plan.Kernels, sources)
}

func (m *machine) compileAll(kernels []*kernel.Kernel, texts map[string]string) (c *code, err error) {
	start := time.Now()
	compiler, err := nvrtc.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotHere, err)
	}
	if compiler.Major() > m.api.Major() {
		return nil, fmt.Errorf("NVRTC %s makes code for newer drivers than this one, which supports CUDA %s: install a newer driver, or name an older libnvrtc by %s", compiler.Version(), m.api.Version(), nvrtc.Env)
	}
	t := &translator{compiler: compiler, capability: m.card.Capability, cache: m.opts.Cache}
	if t.cache != nil && t.cache.Bypassed() != nil {
		t.note = t.cache.Bypassed().Error()
		t.cache = nil
	}
	c = &code{kernels: map[string]*compiled{}}
	images := make([]image, len(kernels))
	done, end := m.opts.Begin.Phase("compiling kernels", int64(len(kernels)), "kernels")
	err = t.translate(kernels, texts, images, m.opts.Stop, done)
	end()
	if err != nil {
		return nil, err
	}
	for i, k := range kernels {
		if c.kernels[k.Name], err = m.load(k, images[i]); err != nil {
			return nil, errors.Join(err, c.close(m.api))
		}
	}
	c.build = device.Build{Compiled: len(kernels) - t.kept, Kept: t.kept, Elapsed: time.Since(start), Compiling: t.compiling, Note: t.note}
	return c, nil
}

// load puts a kernel's code on the card.
func (m *machine) load(k *kernel.Kernel, i image) (x *compiled, err error) {
	x = &compiled{entry: i.entry}
	if x.module, err = m.api.Load(i.code); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if x.function, err = m.api.Function(x.module, i.entry.Name); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Name, errors.Join(err, m.api.Unload(x.module)))
	}
	x.use, err = m.api.Use(x.function)
	if err == nil && x.use.Threads < k.Schedule.Threads {
		err = fmt.Errorf("a block may have %d threads on this card, its schedule wants %d", x.use.Threads, k.Schedule.Threads)
	}
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Name, errors.Join(err, m.api.Unload(x.module)))
	}
	return x, nil
}

func (c *code) close(api *driver.API) error {
	var errs []error
	for _, x := range c.kernels {
		errs = append(errs, api.Unload(x.module))
	}
	return errors.Join(errs...)
}

// image is a kernel's machine code with the function that is launched.
type image struct {
	code  []byte
	entry cudatext.Entry
}

// translator turns texts into machine code, beside each other.
type translator struct {
	compiler   *nvrtc.Compiler
	capability int
	cache      *codecache.Cache

	mu        sync.Mutex
	kept      int
	compiling time.Duration
	note      string
}

func (t *translator) translate(kernels []*kernel.Kernel, texts map[string]string, images []image, stop func() error, done func(n int64)) error {
	var (
		group sync.WaitGroup
		errs  = make([]error, len(kernels))
		next  = make(chan int, len(kernels))
	)
	for i := range kernels {
		next <- i
	}
	close(next)
	for range min(runtime.GOMAXPROCS(0), len(kernels)) {
		group.Go(func() {
			for i := range next {
				if errs[i] = stop(); errs[i] != nil {
					return // the reason says it all, and once is enough
				}
				if images[i], errs[i] = t.one(texts[kernels[i].Name]); errs[i] != nil {
					errs[i] = fmt.Errorf("kernel %s: %w", kernels[i].Name, errs[i])
				}
				done(1)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// one compiles a text, or finds its code.
func (t *translator) one(text string) (i image, err error) {
	source, entry, err := cudatext.Source(text)
	if err != nil {
		return i, err
	}
	i.entry = entry
	options := cudatext.Options(t.capability)
	var headers []nvrtc.Header
	parts := []string{"cubin 1", t.compiler.Version(), t.compiler.Identity(), source, fmt.Sprint(options)}
	for _, h := range cudatext.Headers() {
		headers = append(headers, nvrtc.Header(h))
		parts = append(parts, h.Name, h.Text)
	}
	key := codecache.KeyOf(parts...)
	if t.cache != nil {
		if code, ok := t.cache.Get(key); ok {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.kept++
			i.code = code
			return i, nil
		}
	}
	start := time.Now()
	if i.code, err = t.compiler.Compile("kernel.metal", source, headers, options); err != nil {
		return i, err
	}
	took := time.Since(start)
	if t.cache != nil {
		err = t.cache.Put(key, i.code)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.compiling += took
	if err != nil && t.note == "" {
		t.note = err.Error()
	}
	return i, nil
}

package metal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/private"
)

// compile makes the pipelines of the plan's kernels. Where one allows fewer
// threads in a threadgroup than its schedule wants, the model is planned again
// with as many.
func (m *machine) compile() error {
	start := time.Now()
	for {
		if err := m.compileAll(m.b.Plan.Kernels); err != nil {
			return err
		}
		most := m.fewestThreads()
		if most == 0 {
			m.built(time.Since(start))
			return nil
		}
		if err := m.reschedule(most); err != nil {
			return err
		}
	}
}

// fewestThreads is the least number of threads that a pipeline allows, of those
// that allow fewer than are scheduled; 0 if all allow enough.
func (m *machine) fewestThreads() int {
	most := 0
	for _, k := range m.b.Plan.Kernels {
		if n := m.api.PipelineThreads(m.kernels[k.Name]); n < k.Schedule.Threads && (most == 0 || n < most) {
			most = n
		}
	}
	return most
}

// reschedule plans the model with smaller threadgroups and gives the pipelines back.
func (m *machine) reschedule(most int) error {
	t, err := m.b.Plan.Target.WithThreads(most / m.b.Plan.Target.SimdWidth * m.b.Plan.Target.SimdWidth)
	if err != nil {
		return fmt.Errorf("a pipeline of %s allows threadgroups of %d threads: %w", m.info.Name, most, err)
	}
	b, err := m.b.For(t)
	if err != nil {
		return fmt.Errorf("planning with threadgroups of %d threads, which is what a pipeline of %s allows: %w", most, m.info.Name, err)
	}
	m.b, m.rescaled = b, most
	for name, p := range m.kernels {
		m.api.Release(p)
		delete(m.kernels, name)
	}
	return nil
}

// compileAll compiles each kernel as a library of its own, for Metal compiles
// libraries beside each other, and its messages name lines of what `smelt
// inspect --kernel` shows.
func (m *machine) compileAll(kernels []*kernel.Kernel) error {
	texts, err := m.print(kernels)
	if err != nil {
		return err
	}
	a := m.openArchive(texts)
	defer a.release(m.api)
	if err := m.compileBeside(kernels, texts, a); err != nil {
		return err
	}
	a.write(m)
	return nil
}

// print gives the kernels' texts.
func (m *machine) print(kernels []*kernel.Kernel) (texts []string, err error) {
	done, end := m.opts.Begin.Phase("printing kernels", int64(len(kernels)), "kernels")
	defer end()
	texts = make([]string, len(kernels))
	for i, k := range kernels {
		if texts[i], err = msl.Print(k); err != nil {
			return nil, err
		}
		done(1)
	}
	return texts, nil
}

func (m *machine) compileBeside(kernels []*kernel.Kernel, texts []string, a *archive) error {
	done, end := m.opts.Begin.Phase("compiling kernels", int64(len(kernels)), "kernels")
	defer end()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  = make([]error, len(kernels))
		next  = make(chan int, len(kernels))
	)
	for i := range kernels {
		next <- i
	}
	close(next)
	for range min(runtime.GOMAXPROCS(0), len(kernels)) {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range next {
				if errs[i] = m.opts.Stop(); errs[i] != nil {
					return // the reason says it all, and once is enough
				}
				errs[i] = m.api.Pool(func() error {
					p, err := pipeline(m.api, m.gpu, kernels[i], texts[i], a)
					if err == nil {
						mu.Lock()
						m.kernels[kernels[i].Name] = p
						mu.Unlock()
					}
					return err
				})
				done(1)
			}
		}()
	}
	group.Wait()
	return errors.Join(errs...)
}

// pipeline compiles a kernel.
func pipeline(api *objc.API, gpu objc.ID, k *kernel.Kernel, text string, a *archive) (objc.ID, error) {
	lib, err := api.NewLibrary(gpu, text)
	if err != nil {
		return 0, compileError(k.Name, text, err)
	}
	defer api.Release(lib)
	fn := api.NewFunction(lib, k.Name)
	if fn == 0 {
		return 0, fmt.Errorf("kernel %s: the compiled library has no function of that name", k.Name)
	}
	defer api.Release(fn)
	desc := api.NewPipelineDescriptor(fn, k.Name, a.id)
	defer api.Release(desc)
	p, err := api.NewPipeline(gpu, desc)
	if err != nil {
		return 0, fmt.Errorf("kernel %s: Metal makes no pipeline of it: %w", k.Name, err)
	}
	if w := api.PipelineWidth(p); w != k.Schedule.SimdWidth {
		api.Release(p)
		return 0, fmt.Errorf("kernel %s: SIMD groups have %d lanes on this GPU; kernels are made for %d", k.Name, w, k.Schedule.SimdWidth)
	}
	a.add(api, desc)
	return p, nil
}

// place is how Metal's compiler names a line of a source.
var place = regexp.MustCompile(`program_source:(\d+):\d+: (?:fatal )?error:`)

// compileError shows the line of the text that the compiler complains of.
func compileError(name, text string, err error) error {
	m := place.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("kernel %s: Metal does not compile it: %w", name, err)
	}
	n, _ := strconv.Atoi(m[1])
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return fmt.Errorf("kernel %s: Metal does not compile it: %w", name, err)
	}
	return fmt.Errorf("kernel %s: Metal does not compile line %d: %s\n%w", name, n, strings.TrimSpace(lines[n-1]), err)
}

// UserArchives is where pipelines are kept for a user; "" where there is no folder
// for caches.
func UserArchives() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "smelt", "metal")
}

// archive is a binary archive of pipelines: the one kept for these texts on this
// GPU and system, or a new one. Archives only save time, so what goes wrong with
// one is noted, and no error. They hold machine code, so the folder is the user's
// alone.
type archive struct {
	mu   sync.Mutex
	id   objc.ID      // 0: none is kept
	dir  *private.Dir // nil: none is kept
	name string
	kept bool
	err  error
}

// maxArchiveBytes bounds what Metal is given to read.
const maxArchiveBytes = 1 << 30

func (m *machine) openArchive(texts []string) *archive {
	a := &archive{}
	if m.opts.Archives == "" {
		return a
	}
	if a.dir, a.err = private.Open(m.opts.Archives); a.err != nil {
		return a
	}
	h := sha256.New()
	for _, s := range append([]string{m.info.Name, m.info.Architecture, m.info.System}, texts...) {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	a.name = hex.EncodeToString(h.Sum(nil)) + ".metalar"
	// Metal opens it by its name, which nobody else can give to another file.
	if a.dir.Check(a.name, maxArchiveBytes) == nil {
		if a.id, a.err = m.api.NewArchive(m.gpu, filepath.Join(a.dir.Path(), a.name)); a.err == nil {
			a.kept = true
			return a
		}
	}
	a.id, a.err = m.api.NewArchive(m.gpu, "")
	return a
}

func (a *archive) release(api *objc.API) {
	api.Release(a.id)
	if a.dir != nil {
		_ = a.dir.Close() // nothing is written through it
	}
}

func (a *archive) add(api *objc.API, desc objc.ID) {
	if a.id == 0 || a.kept {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := api.ArchiveAdd(a.id, desc); err != nil && a.err == nil {
		a.err = err
	}
}

// write keeps a new archive: beside its place first, so that none is ever half there.
func (a *archive) write(m *machine) {
	if a.id != 0 && !a.kept && a.err == nil {
		temp := private.TempName(".tmp")
		if a.err = m.api.ArchiveWrite(a.id, filepath.Join(a.dir.Path(), temp)); a.err == nil {
			a.err = a.dir.Place(temp, a.name)
		} else {
			_ = a.dir.Remove(temp) // part of it may be there
		}
	}
	m.kept = a.kept
	if a.err != nil {
		m.build.Note = fmt.Sprintf("pipelines are not kept: %v", a.err)
	}
}

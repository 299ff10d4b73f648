package msl

import (
	"regexp"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// identifier matches names that C++ accepts and does not reserve.
var identifier = regexp.MustCompile(`^[A-Za-z](_?[A-Za-z0-9])*_?$`)

// Names the printer itself uses in a kernel.
const (
	argsName   = "args"
	stepName   = "step"
	threadName = "tid"
	laneName   = "lane"
	simdName   = "simd_group"
)

var groupNames = [3]string{"group_x", "group_y", "group_z"}

// reserved lists the names that a kernel's own may not have: keywords, types
// and what the printer writes. What it writes after precise:: is found there
// whatever a local name hides.
var reserved = set(`
	alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const
	const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false
	float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
	protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
	template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
	while xor xor_eq

	kernel vertex fragment mesh object visible stitchable intersection device constant thread threadgroup
	threadgroup_imageblock ray_data object_data metal precise fast half bfloat uchar ushort uint ulong size_t ptrdiff_t
	sampler texture

	main NULL NAN INFINITY HUGE_VALF HUGE_VALH MAXFLOAT FLT_MAX FLT_MIN FLT_EPSILON HALF_MAX INT_MAX INT_MIN UINT_MAX

	Args Step args step tid lane simd_group group_x group_y group_z
	group_position thread_index lane_index simd_index

	fma rint floor fabs fmin fmax min max select as_type
	simd_sum simd_max simd_min simd_prefix_exclusive_sum simd_shuffle simd_shuffle_xor
	simdgroup_float8x8 simdgroup_half8x8 make_filled_simdgroup_matrix simdgroup_load simdgroup_store
	simdgroup_multiply_accumulate threadgroup_barrier mem_flags
`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	for _, t := range []string{"bool", "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "half", "float"} {
		for _, lanes := range []string{"2", "3", "4"} {
			m[t+lanes] = true
		}
	}
	return m
}

// names maps a kernel's names to those printed: the same, with an
// underscore behind a reserved one.
type names struct {
	taken   map[string]bool
	printed map[string]string
}

func namesOf(k *kernel.Kernel) *names {
	n := &names{map[string]bool{}, map[string]string{}}
	for _, p := range k.Params {
		n.taken[p.Name] = true
	}
	for _, s := range k.Shared {
		n.taken[s.Name] = true
	}
	n.takeAll(k.Body)
	return n
}

func (n *names) takeAll(body []kernel.Stmt) {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.Let:
			n.taken[s.Name] = true
		case *kernel.Var:
			n.taken[s.Name] = true
		case *kernel.Locals:
			n.taken[s.Name] = true
		case *kernel.Fragment:
			n.taken[s.Name] = true
		case *kernel.For:
			n.taken[s.Name] = true
			n.takeAll(s.Body)
		case *kernel.If:
			n.takeAll(s.Then)
			n.takeAll(s.Else)
		}
	}
}

// of is the printed form of a name of the kernel.
func (n *names) of(name string) string {
	if !reserved[name] {
		return name
	}
	if _, ok := n.printed[name]; !ok {
		n.printed[name] = n.fresh(name)
	}
	return n.printed[name]
}

// fresh returns a name that nothing else has: name, name_, name_2, name_3 ...
func (n *names) fresh(name string) string {
	as := name
	for i := 1; n.taken[as] || reserved[as]; i++ {
		as = name + "_"
		if i > 1 {
			as += strconv.Itoa(i)
		}
	}
	n.taken[as] = true
	return as
}

package objc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// passing is where AAPCS64 puts a struct that is an argument (6.8.2, stages B and C).
type passing int

const (
	inRegisters      passing = iota // up to 16 bytes, in general registers
	inFloatRegisters                // a homogeneous aggregate of 1 to 4 floats
	byReference                     // more than 16 bytes: a pointer to a copy
)

func (p passing) String() string {
	return [...]string{"in registers", "in float registers", "by reference"}[p]
}

// fields are a struct's fields, those of structs inside it included.
func (d *description) fields(declared string) []string {
	inner, ok := d.structs[declared]
	if !ok {
		return []string{declared}
	}
	var all []string
	for _, f := range inner {
		all = append(all, d.fields(f)...)
	}
	return all
}

// layout is a struct's size and alignment in bytes (LP64).
func (d *description) layout(declared string) (size, align int, err error) {
	for _, f := range d.fields(declared) {
		bytes := 0
		switch {
		case slices.Contains(words, f), f == "double":
			bytes = 8
		case f == "float":
			bytes = 4
		default:
			return 0, 0, fmt.Errorf("%s has a field of unknown size: %s", declared, f)
		}
		size = (size+bytes-1)/bytes*bytes + bytes
		align = max(align, bytes)
	}
	return (size + align - 1) / align * align, align, nil
}

// passing classifies a struct argument.
func (d *description) passing(declared string) (passing, error) {
	size, _, err := d.layout(declared)
	if err != nil {
		return 0, err
	}
	fields := d.fields(declared)
	float := fields[0] == "float" || fields[0] == "double"
	for _, f := range fields {
		float = float && f == fields[0]
	}
	switch {
	case float && len(fields) <= 4:
		return inFloatRegisters, nil
	case size > 16:
		return byReference, nil
	}
	return inRegisters, nil
}

func TestStructsArePassedAsTheTableSays(t *testing.T) {
	d := readDescription(t)
	for _, c := range []struct {
		name  string
		size  int
		where passing
	}{
		{"MTLSize", 24, byReference}, // the only one that the table has
		{"MTLRegion", 48, byReference},
		{"MTLSizeAndAlign", 16, inRegisters},
		{"MTLSamplePosition", 8, inFloatRegisters},
		{"MTLClearColor", 32, inFloatRegisters},
	} {
		size, _, err := d.layout(c.name)
		if err != nil {
			t.Fatal(err)
		}
		where, err := d.passing(c.name)
		if size != c.size || where != c.where || err != nil {
			t.Errorf("%s: %d bytes %v (%v), want %d bytes %v", c.name, size, where, err, c.size, c.where)
		}
	}
	structs := 0
	for _, s := range methods {
		if s.Result == Size {
			t.Errorf("%s %s returns a struct, which Send cannot take", s.Owner, s.Selector)
		}
		for _, a := range s.Args {
			if a == Double {
				t.Errorf("%s %s takes a double, which Send cannot pass", s.Owner, s.Selector)
			}
			if a == Size {
				structs++
			}
		}
		if s.Result == Double && len(s.Args) != 0 {
			t.Errorf("%s %s: SendFloat64 passes no arguments", s.Owner, s.Selector)
		}
	}
	if structs == 0 {
		t.Error("no method takes a struct: dispatchThreadgroups:threadsPerThreadgroup: should")
	}
}

// constants are the numbers of the package, by the name of the Go constant, and
// what they are called in Apple's headers; several are or-ed.
var constants = map[string]struct {
	value any
	names []string
}{
	"Shared":              {Shared, []string{"MTLResourceStorageModeShared", "MTLResourceHazardTrackingModeUntracked"}},
	"language":            {language, []string{"MTLLanguageVersion3_1"}},
	"safeMath":            {safeMath, []string{"MTLMathModeSafe"}},
	"preciseFunctions":    {preciseFunctions, []string{"MTLMathFloatingPointFunctionsPrecise"}},
	"DispatchConcurrent":  {DispatchConcurrent, []string{"MTLDispatchTypeConcurrent"}},
	"BarrierBuffers":      {BarrierBuffers, []string{"MTLBarrierScopeBuffers"}},
	"UsageRead":           {UsageRead, []string{"MTLResourceUsageRead"}},
	"UsageWrite":          {UsageWrite, []string{"MTLResourceUsageWrite"}},
	"StatusCompleted":     {StatusCompleted, []string{"MTLCommandBufferStatusCompleted"}},
	"StatusError":         {StatusError, []string{"MTLCommandBufferStatusError"}},
	"CommandBufferErrors": {CommandBufferErrors, []string{"MTLCommandBufferErrorDomain"}},
	"FailedTimeout":       {FailedTimeout, []string{"MTLCommandBufferErrorTimeout"}},
	"FailedPageFault":     {FailedPageFault, []string{"MTLCommandBufferErrorPageFault"}},
	"FailedAccessRevoked": {FailedAccessRevoked, []string{"MTLCommandBufferErrorAccessRevoked"}},
	"FailedNotPermitted":  {FailedNotPermitted, []string{"MTLCommandBufferErrorNotPermitted"}},
	"FailedOutOfMemory":   {FailedOutOfMemory, []string{"MTLCommandBufferErrorOutOfMemory"}},
	"FailedDeviceRemoved": {FailedDeviceRemoved, []string{"MTLCommandBufferErrorDeviceRemoved"}},
	"FamilyApple7":        {FamilyApple7, []string{"MTLGPUFamilyApple7"}},
	"FamilyApple8":        {FamilyApple8, []string{"MTLGPUFamilyApple8"}},
	"FamilyApple9":        {FamilyApple9, []string{"MTLGPUFamilyApple9"}},
	"FamilyApple10":       {FamilyApple10, []string{"MTLGPUFamilyApple10"}},
	"FamilyMetal3":        {FamilyMetal3, []string{"MTLGPUFamilyMetal3"}},
}

func TestConstantsAreApples(t *testing.T) {
	d := readDescription(t)
	for name, c := range constants {
		want := ""
		for i, apple := range c.names {
			value, ok := d.constants[apple]
			if !ok {
				t.Fatalf("the description has no %s", apple)
			}
			if i == 0 {
				want = value
				continue
			}
			a, errA := strconv.Atoi(want)
			b, errB := strconv.Atoi(value)
			if errA != nil || errB != nil {
				t.Fatalf("%v are no numbers: %v %v", c.names, errA, errB)
			}
			want = strconv.Itoa(a | b)
		}
		if got := fmt.Sprint(c.value); got != want {
			t.Errorf("%s is %s, but %v is %s", name, got, c.names, want)
		}
	}
}

// TestEveryConstantIsChecked keeps the list above whole.
func TestEveryConstantIsChecked(t *testing.T) {
	for _, file := range []string{"command.go", "device.go", "library.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			group, ok := n.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				return true
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if _, ok := constants[name.Name]; !ok {
						t.Errorf("%s: %s is not compared with Apple's headers", file, name.Name)
					}
				}
			}
			return false
		})
	}
}
